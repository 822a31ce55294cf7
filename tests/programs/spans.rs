//! Each handler runs in a span of its connection, ours or the user's.

use std::io;
use std::sync::{Arc, Mutex};

use anteroom::{Connection, End, Info, Listener, Server, service_fn};
use tokio::net::TcpStream;
use tracing::Metadata;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::{BOUND, within};

/// The spans in which each event of these tests was made, outermost first.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Vec<&'static str>>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let of_a_handler = |metadata: &Metadata<'_>| metadata.target() == "handler";
        if of_a_handler(event.metadata()) {
            let names = context.event_scope(event).into_iter().flatten().map(|span| span.name());
            self.0.lock().expect("no test has panicked").push(names.collect());
        }
    }
}

async fn speak(_: Connection) -> io::Result<()> {
    tracing::info!(target: "handler", "before it waits");
    tokio::task::yield_now().await;
    tracing::info!(target: "handler", "and after");
    Err(io::Error::other("on purpose"))
}

#[tokio::test]
async fn a_handler_runs_in_the_span_of_its_connection_and_its_end_is_told_once() {
    let spans = Spans::default();
    let _default = tracing_subscriber::registry().with(spans.clone()).set_default();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ends);
    let listener = Listener::builder().name("public").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    let server = Server::builder()
        .make_span(|info: &Info| tracing::info_span!("mine", id = info.id()))
        .on_end(move |info, end| {
            let failed = matches!(end, End::Failed(error) if error.to_string() == "on purpose");
            told.lock().expect("no test has panicked").push((info.listener().to_owned(), failed));
        })
        .serve(listener, service_fn(speak))
        .start()
        .expect("it starts");
    let _client = TcpStream::connect(address).await.expect("it listens");
    within(async {
        while ends.lock().expect("no test has panicked").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = within(server.handle().drain(BOUND)).await.expect("nothing else failed");
    assert_eq!(report.served.failed, 1, "{report}");
    assert_eq!(*spans.0.lock().expect("no test has panicked"), [["mine"], ["mine"]]);
    assert_eq!(*ends.lock().expect("no test has panicked"), [("public".to_owned(), true)]);
}
