//! What shards do for one another: those whom one leaves standing are given to another that comes, has places, and serves
//! the same; and to nobody else.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so; not every helper counts as a test"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Config, Connection, FirstByte, Handle, Lane, Listener, Order, Server, service_fn};
use anteroom_testkit::BOUND;
use anteroom_tests::waiting::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Answered with the number of the shard, and then: nothing, the client is waited for, or the shard is held.
const ASK: [u8; 2] = *b"a ";
const STAY: [u8; 2] = *b"s ";

/// Holds the shard for so many tenths of a second.
fn hold(tenths: u8) -> [u8; 2] {
    [b'h', tenths]
}

/// Nobody is refused for its age: whoever has to wait for a stuck shard is to be seen.
fn config() -> Config {
    let mut config = Config::default();
    config.first_byte = Some(FirstByte::within(BOUND));
    config.max_wait = BOUND;
    config.order = Order::Fifo;
    config
}

fn serve(config: Config, shards: impl IntoIterator<Item = impl Into<Lane>>) -> Server {
    let service = |shard: usize| {
        service_fn(move |mut connection: Connection| async move {
            let mut words = [0; 2];
            connection.read_exact(&mut words).await?;
            connection.write_all(&[u8::try_from(shard).expect("a small number")]).await?;
            match words {
                [b'h', tenths] => thread::sleep(Duration::from_millis(u64::from(tenths) * 100)),
                STAY => _ = connection.read(&mut words).await?,
                _ => {}
            }
            Ok::<_, io::Error>(())
        })
    };
    Server::builder().config(config).serve_sharded(shards, service).start().expect("it starts")
}

fn two_shards(config: Config) -> (Server, SocketAddr) {
    let listeners = Listener::builder().bind_group("127.0.0.1:0", TWO).expect("a free port");
    let address = listeners[0].local_addr().tcp().expect("it is TCP");
    (serve(config, listeners), address)
}

/// One who has said nothing yet, in the lane of this shard.
fn silent(handle: &Handle, address: SocketAddr, shard: usize) -> TcpStream {
    let lanes = || handle.snapshot().lanes;
    loop {
        let before: Vec<_> = lanes().into_iter().map(|lane| lane.silent).collect();
        let client = TcpStream::connect(address).expect("it listens");
        client.set_read_timeout(Some(BOUND)).expect("it can be set");
        until("it is in", || lanes().iter().map(|lane| lane.silent).sum::<usize>() > before.iter().sum());
        if lanes()[shard].silent > before[shard] {
            return client;
        }
        drop(client);
        until("it is gone", || lanes().iter().map(|lane| lane.silent).sum::<usize>() <= before.iter().sum());
    }
}

fn says(client: &mut TcpStream, words: [u8; 2]) {
    client.write_all(&words).expect("it is connected");
}

/// The shard that answers.
fn answered_by(client: &mut TcpStream) -> u8 {
    let mut shard = [0];
    client.read_exact(&mut shard).expect("it is answered");
    shard[0]
}

/// A shard that is held from now on, by this client.
fn held(handle: &Handle, address: SocketAddr, shard: usize, tenths: u8) -> TcpStream {
    let mut client = silent(handle, address, shard);
    says(&mut client, hold(tenths));
    assert_eq!(usize::from(answered_by(&mut client)), shard);
    client
}

#[test]
fn who_speaks_while_nobody_comes_goes_over_to_a_shard_that_takes() {
    let (server, address) = two_shards(config());
    let handle = server.handle();
    let mut clients: Vec<_> = (0..4).map(|_| silent(&handle, address, 0)).collect();
    let _held = held(&handle, address, 0, 30);
    // Nobody comes for longer than anybody looks.
    thread::sleep(Duration::from_millis(300));
    clients.iter_mut().for_each(|client| says(client, ASK));
    assert_eq!(clients.iter_mut().map(answered_by).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn a_shard_that_was_stuck_and_comes_back_is_given_what_another_leaves_standing() {
    let (server, address) = two_shards(config());
    let handle = server.handle();
    let mut silents: Vec<_> = (0..40).map(|_| silent(&handle, address, 0)).collect();
    let _long = held(&handle, address, 0, 60);
    let start = Instant::now();
    let _short = held(&handle, address, 1, 5);
    silents.iter_mut().for_each(|client| says(client, ASK));
    // Both leave somebody standing, and are known to.
    let mut newcomers: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    for client in &mut newcomers {
        client.set_read_timeout(Some(BOUND)).expect("it can be set");
        says(client, ASK);
    }
    for client in silents.iter_mut().chain(&mut newcomers) {
        assert_eq!(answered_by(client), 1, "after {:?}", start.elapsed());
    }
}

#[test]
fn a_shard_without_a_place_is_given_nobody() {
    let mut config = config();
    config.max_connections = Some(2);
    let (server, address) = two_shards(config);
    let handle = server.handle();
    let mut full: Vec<_> = (0..2).map(|_| silent(&handle, address, 1)).collect();
    for client in &mut full {
        says(client, STAY);
        assert_eq!(answered_by(client), 1);
    }
    let mut client = silent(&handle, address, 0);
    let _held = held(&handle, address, 0, 10);
    says(&mut client, ASK);
    assert_eq!(answered_by(&mut client), 0, "the other one has no place");
    drop(full);
}

#[test]
fn nobody_goes_to_a_shard_that_does_not_serve_the_address() {
    let group = Listener::builder().bind_group("127.0.0.1:0", TWO).expect("a free port");
    let [first, second] = <[Listener; 2]>::try_from(group).expect("two");
    let alone = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = alone.local_addr().tcp().expect("it is TCP");
    let server = serve(config(), [Lane::new(vec![first, alone]), Lane::new(second)]);
    let handle = server.handle();
    let mut client = silent(&handle, address, 0);
    let _held = held(&handle, address, 0, 10);
    says(&mut client, ASK);
    assert_eq!(answered_by(&mut client), 0);
}
