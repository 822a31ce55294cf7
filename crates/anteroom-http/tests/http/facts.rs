//! What a handler knows of the connection that its request came on.

use std::net::SocketAddr;

use anteroom::Info;
use anteroom_http::Http;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};

use crate::client::{Client, serve};

#[tokio::test]
async fn requests_carry_the_facts_of_their_connection() {
    let tell = async |Extension(info): Extension<Info>, ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        format!("{} {} {}", info.peer_addr(), info.local_addr(), peer)
    };
    let (_server, address) = serve(Http::new(Router::new().route("/", get(tell))));
    let mut client = Client::connect(address).await;
    let own = client.0.local_addr().expect("it is connected");
    assert_eq!(client.ask("/").await.body, format!("{own} {address} {own}"));
}
