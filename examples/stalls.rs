//! Three stalls, and what the server says of itself while they last: who sleeps, who waits for whose lock, and that
//! all places are taken. It takes 3 seconds.
//!
//! ```sh
//! cargo run --example stalls
//! ```
//!
//! Its clients are in here too. What the server says goes to stdout; `docs/guide/stalls.md` goes through it.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anteroom::{Connection, Listener, Server, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

static CACHE: Mutex<()> = Mutex::new(());

/// Does what a client's byte says; the first two are the mistakes.
async fn serve(mut connection: Connection) -> io::Result<()> {
    let mut order = [0];
    while connection.read(&mut order).await? > 0 {
        match order {
            [b's'] => sleep(Duration::from_millis(600)),
            [b'l'] => {
                let _held = CACHE.lock();
                sleep(Duration::from_millis(600));
            }
            _ => {}
        }
        connection.write_all(&order).await?;
    }
    Ok(())
}

#[tokio::main(worker_threads = 4)]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_ansi(false).without_time().init();
    let listener = Listener::builder().name("public").bind("127.0.0.1:0")?;
    let address = listener.local_addr().tcp().ok_or(io::ErrorKind::InvalidInput)?;
    let server = Server::builder().max_connections(3).serve(listener, service_fn(serve)).start()?;
    tokio::task::spawn_blocking(move || clients(address)).await??;
    println!("{}", server.handle().drain(Duration::from_secs(1)).await?);
    Ok(())
}

fn clients(server: SocketAddr) -> io::Result<()> {
    let ask = |order: &[u8]| {
        let mut client = TcpStream::connect(server)?;
        client.write_all(order)?;
        io::Result::Ok(client)
    };
    let answer = |mut client: TcpStream| client.read_exact(&mut [0]).map(|()| client);

    println!("\n--- a handler sleeps; somebody else asks meanwhile");
    let (sleeper, started) = (ask(b"s")?, Instant::now());
    sleep(Duration::from_millis(100));
    let asked = Instant::now();
    answer(ask(b"x")?)?;
    println!("the other one was answered within {:.1?}", asked.elapsed());
    answer(sleeper)?;
    println!("the sleeper's client waited {:.1?}", started.elapsed());

    println!("\n--- a handler sleeps with a lock held, and another one wants it");
    let (holder, waiter) = (ask(b"l")?, ask(b"l")?);
    answer(holder)?;
    answer(waiter)?;

    println!("\n--- three clients say nothing and keep all places");
    let idle = (0..3).map(|_| ask(b"x").and_then(answer)).collect::<io::Result<Vec<_>>>()?;
    let waiting = ask(b"x")?;
    sleep(Duration::from_millis(600));
    drop(idle);
    answer(waiting).map(drop)
}
