//! TLS as a layer: `Connection<Io>` in, `Connection<TlsStream<Io>>` out, and `Http` inside.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anteroom::{Connection, Listener, Server};
use anteroom_http::Http;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::{Layer, Service, ServiceBuilder};

use crate::{BOUND, ask, until_queued, within};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a user writes.
#[derive(Clone)]
struct TlsLayer(TlsAcceptor);

impl<S> Layer<S> for TlsLayer {
    type Service = Tls<S>;

    fn layer(&self, inner: S) -> Tls<S> {
        Tls { acceptor: self.0.clone(), inner }
    }
}

#[derive(Clone)]
struct Tls<S> {
    acceptor: TlsAcceptor,
    inner: S,
}

impl<S, Io> Service<Connection<Io>> for Tls<S>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Connection<TlsStream<Io>>, Response = (), Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, connection: Connection<Io>) -> Self::Future {
        let acceptor = self.acceptor.clone();
        // The one that is ready is the one to be called.
        let other = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            let connection = connection.try_map(|io| acceptor.accept(io)).await?;
            ready.call(connection).await.map_err(Into::into)
        })
    }
}

fn certificate() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be made");
    let chain = vec![made.cert.der().clone()];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("it is a key");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("it is a certificate");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server.expect("they fit"))), TlsConnector::from(Arc::new(client)))
}

async fn connect(connector: &TlsConnector, stream: TcpStream) -> client::TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").expect("it is a name");
    within(connector.connect(name, stream)).await.expect("a handshake")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_inside_tls_knows_its_peer_and_drains() {
    const QUEUED: u32 = 20;
    let (acceptor, connector) = certificate();
    let tell = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    let http = Http::new(Router::new().route("/", get(tell))).drain_grace(BOUND);
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is tcp");
    let service = ServiceBuilder::new().layer(TlsLayer(acceptor)).service(http);
    let server = Server::builder().config(anteroom_http::config()).serve(listener, service).start();
    let handle = server.as_ref().expect("it starts").handle();

    // One that is idle when the drain begins.
    let stream = TcpStream::connect(address).await.expect("it listens");
    let idle = connect(&connector, stream).await;
    handle.pause();
    let asking: Vec<_> = (0..QUEUED)
        .map(|_| {
            let connector = connector.clone();
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.expect("it listens");
                let own = stream.local_addr().expect("it is connected");
                (own, ask(&mut connect(&connector, stream).await).await)
            })
        })
        .collect();
    until_queued(&handle, QUEUED).await;
    let stopped = handle.drain(BOUND);
    for asked in asking {
        let (own, answer) = within(asked).await.expect("it is served");
        assert!(answer.ends_with(&own.to_string()), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    drop(idle);
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.total(), u64::from(QUEUED) + 1, "{report}");
    assert_eq!(report.served.cut, 0, "{report}");
}
