//! What an Anteroom server has to say of itself, over HTTP/1, while everything else is stuck.
//!
//! An [`Admin`] listens on loopback or a Unix socket and answers on a thread and a runtime of its own: when
//! every worker of the application is blocked, it says which handler of which connection blocks them.
//!
//! | path | answer |
//! |---|---|
//! | `/live` | 200 as long as this thread lives: the process is there. It says nothing about handlers, so that a liveness probe does not kill a server which names its stall |
//! | `/ready` | 200, or 503 with the reason, as [`anteroom::Handle::readiness`] |
//! | `/status` | JSON: phases, listeners with their queues and waits, lanes, refusals, stalls with who is to blame |
//! | `/metrics` | for Prometheus, by the names of the list of metrics and with the label `server` (feature `metrics`, on by default) |
//!
//! # Bounds
//! At most [`CONNECTIONS`] at a time, of which the one that has been idle longest goes when another comes, or,
//! where all have only just come, one of the address that has most; a request's head of 8 KiB within 2 s, no body;
//! [`REQUESTS`] and a minute per connection. Eight descriptors are kept in reserve for the day on which there
//! are no others; then, too, the idlest makes room.
//!
//! # Examples
//! ```
//! use anteroom::{Connection, Listener, Server, service_fn};
//! use anteroom_admin::Admin;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let serve = service_fn(|_: Connection| async { Ok::<_, std::io::Error>(()) });
//! let server = Server::builder().serve(Listener::bind("127.0.0.1:0")?, serve).start()?;
//! let admin = Admin::serve(&server.handle(), "127.0.0.1:0")?;
//! println!("curl http://{}/status", admin.local_addr());
//! # Ok(())
//! # }
//! ```
//!
//! # Platform
//! As `anteroom`: what the platform does not tell is `null`.

#![forbid(unsafe_code)]

mod admin;
mod answers;
mod error;
mod guests;
mod house;
#[cfg(feature = "metrics")]
mod page;
mod reserve;
mod status;

/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn start(server: &anteroom::Handle) -> Result<(), anteroom_admin::AdminError> {
///     anteroom_admin::Admin::serve(server, "127.0.0.1:9090")?;
///     Ok(())
/// }
/// ```
#[cfg(doctest)]
struct AnAdminThatNobodyKeeps;

pub use crate::admin::{Admin, Builder};
pub use crate::error::AdminError;
pub use crate::guests::{CONNECTIONS, REQUESTS};
