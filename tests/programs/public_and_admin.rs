//! Two accept loops of one program, and two services of one server: neither holds up the other.

use std::io;
use std::net::SocketAddr;

use anteroom::{Connection, Incoming, Listener, Server, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{BOUND, within};

fn listen(name: &str) -> (Listener, SocketAddr) {
    let listener = Listener::builder().name(name).bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

async fn say_where(mut connection: Connection) -> io::Result<()> {
    let name = connection.listener().to_owned();
    connection.write_all(name.as_bytes()).await
}

async fn heard(client: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.expect("it is answered");
    answer
}

#[tokio::test]
async fn an_admin_loop_takes_while_nobody_takes_from_the_public_one() {
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let lanes = [public.into(), admin.into()];
    let [mut public, mut admin] = Incoming::builder().start_each(lanes).expect("it starts");
    let _waits = TcpStream::connect(public_at).await.expect("it listens");
    let _asks = TcpStream::connect(admin_at).await.expect("it listens");
    let taken = within(admin.accept()).await.expect("it is well").expect("somebody is there");
    assert_eq!(taken.listener(), "admin");
    let taken = within(public.accept()).await.expect("it is well").expect("somebody is there");
    assert_eq!(taken.listener(), "public");
}

#[tokio::test]
async fn dropping_one_incoming_closes_its_listeners_and_leaves_the_other() {
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let lanes = [public.into(), admin.into()];
    let [public, mut admin] = Incoming::builder().start_each(lanes).expect("it starts");
    drop(public);
    within(async { while TcpStream::connect(public_at).await.is_ok() {} }).await;
    let _asks = TcpStream::connect(admin_at).await.expect("it listens");
    assert!(within(admin.accept()).await.expect("it is well").is_some());
}

#[tokio::test]
async fn one_service_serves_tcp_and_unix_together_and_another_the_admin() {
    let folder = std::env::temp_dir().join(format!("anteroom-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("public");
    let unix =
        Listener::builder().name("unix").bind(format!("unix:{}", path.display())).expect("a free path");
    let ((tcp, tcp_at), (admin, admin_at)) = (listen("tcp"), listen("admin"));
    let server = Server::builder()
        .serve([tcp, unix], service_fn(say_where))
        .serve(admin, service_fn(say_where))
        .start()
        .expect("it starts");
    assert_eq!(heard(&mut TcpStream::connect(tcp_at).await.expect("it listens")).await, "tcp");
    assert_eq!(heard(&mut UnixStream::connect(&path).await.expect("it listens")).await, "unix");
    assert_eq!(heard(&mut TcpStream::connect(admin_at).await.expect("it listens")).await, "admin");
    let report = within(server.handle().drain(BOUND)).await.expect("nothing failed");
    assert_eq!((report.served.done, report.is_balanced()), (3, true), "{report}");
    assert!(!path.exists(), "the socket's file is removed");
    std::fs::remove_dir(&folder).expect("it is empty");
}
