//! Programs of other people's making on Anteroom's accept path.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a helper that fails, fails its test")]
#![expect(clippy::disallowed_methods, reason = "tests spawn what stands beside the server")]

mod hyper_by_hand;
mod public_and_admin;
mod rustls;
mod spans;
mod tonic;
mod without_sockets;

use std::time::Duration;

use anteroom::Handle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// How long anything may take that happens at once on a machine that is not busy.
const BOUND: Duration = Duration::from_secs(30);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.expect("it happens in time")
}

/// Waits until so many clients are in the kernel's queue of a paused server.
async fn until_queued(handle: &Handle, clients: u32) {
    within(async {
        loop {
            let queue = handle.snapshot().listeners.first().and_then(|listener| listener.queue);
            if queue.and_then(|queue| queue.depth) == Some(clients) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Asks for `/` and reads until the server closes; a reset fails the test.
async fn ask(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    io.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("the server reads");
    read_all(io).await
}

async fn read_all(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = String::new();
    within(io.read_to_string(&mut answer)).await.expect("nobody is reset");
    answer
}
