//! An axum application behind Anteroom's accept path: the listener is all that changes.
//!
//! ```sh
//! cargo run --release --example axum_drop_in [ADDRESS]
//! curl http://127.0.0.1:8000/
//! ```

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{env, io, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let greet = async |ConnectInfo(client): ConnectInfo<SocketAddr>| format!("hello, {client}\n");
    let app = Router::new().route("/", get(greet));

    // The least is `axum::serve(anteroom_http::bind(address)?, app).await`. The rest is for `ConnectInfo`, and for
    // an end at which nobody is reset.
    let listener = anteroom_http::bind(address)?;
    let handle = listener.handle();
    println!("listening on http://{}", listener.local_addr());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let exhausted = handle.exhausted();
    let serving =
        async { axum::serve(listener.with_connect_info(), app).with_graceful_shutdown(exhausted).await };
    let draining = async {
        tokio::signal::ctrl_c().await?;
        Ok(handle.drain(Duration::from_secs(30)).await?)
    };
    let ((), report) = tokio::try_join!(serving, draining)?;
    println!("{report}");
    Ok(())
}
