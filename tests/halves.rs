//! A connection that was taken apart is in flight until its last half is dropped.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anteroom::{Connection, Handle, Listener, ReadHalf, Server, WriteHalf, service_fn};
use anteroom_tests::waiting::{PATIENCE, ends};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, channel};

type Halves = (ReadHalf, WriteHalf);

/// A server whose handlers end at once and give away what they got.
fn give_away() -> (Server, Handle, Receiver<Halves>, TcpStream) {
    let (give, taken) = channel(4);
    let service = service_fn(move |connection: Connection| {
        let give = give.clone();
        async move { give.send(connection.into_split()).await.map_err(io::Error::other) }
    });
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    let server = Server::builder().serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    (server, handle, taken, client)
}

/// Waits until the handler that gave these away has ended, too.
async fn take(taken: &mut Receiver<Halves>, handle: &Handle) -> Halves {
    let halves = ends("they are given", taken.recv()).await.expect("the server lives");
    ends("the handler has ended", async {
        while handle.snapshot().report.served.done == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(handle.snapshot().open, 1, "its place is taken");
    halves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_both_and_bytes_still_pass() {
    let (server, handle, mut taken, mut client) = give_away();
    let (mut read, mut write) = take(&mut taken, &handle).await;
    let stopped = handle.drain(PATIENCE);
    client.write_all(b"x").expect("it is open");
    let mut byte = [0];
    assert_eq!(ends("it is read", read.read(&mut byte)).await.expect("it is open"), 1);
    write.write_all(&byte).await.expect("it is open");
    client.read_exact(&mut byte).expect("it is answered");
    drop(read);
    write.write_all(&byte).await.expect("it is open");
    client.read_exact(&mut byte).expect("one half is enough");
    assert_eq!(handle.snapshot().open, 1, "and holds the drain up");
    drop(write);
    let report = ends("it stops", stopped).await.expect("nothing failed");
    assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
    assert_eq!(client.read(&mut byte).expect("a clean end"), 0);
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_keeps_one_is_cut_at_the_deadline() {
    const WITHIN: Duration = Duration::from_millis(200);
    let (server, handle, mut taken, mut client) = give_away();
    let (mut read, write) = take(&mut taken, &handle).await;
    drop(write);
    let stopped = handle.drain(WITHIN);
    // Nobody else ends it: the client stays.
    assert_eq!(ends("it is shut down", read.read(&mut [0])).await.expect("an end"), 0);
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    let report = ends("it stops", stopped).await.expect("nothing failed");
    assert_eq!((report.accepted, report.served.total()), (1, 1), "{report}");
    drop((server, read));
}

/// More than the kernel takes in one call.
#[tokio::test]
async fn thousands_of_parts_are_written_as_they_are() {
    let (_server, _handle, mut taken, mut client) = give_away();
    let (_read, mut write) = ends("it is taken", taken.recv()).await.expect("one connection");
    let parts: Vec<[u8; 1]> = (0..3_000).map(|number: u32| [number.to_le_bytes()[0]]).collect();
    let mut slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = ends("they are written", write.write_vectored(left)).await.expect("it is open");
        io::IoSlice::advance_slices(&mut left, written);
    }
    let mut read = vec![0; parts.len()];
    client.read_exact(&mut read).expect("all of them");
    assert_eq!(read, parts.concat());
}
