//! Servers of the raw protocol: one byte there, the same byte back, done.
//!
//! Owns: the handler that all of them share.
//! Never: HTTP.

use super::tcp;
use crate::process::answer_parent;
use anteroom::{Config, Connection, Incoming, Listener, Server, service_fn};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};

/// The handler.
async fn echo_one_byte(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    stream.write_all(&byte).await
}

/// The loop that everybody writes.
pub(super) fn tokio_loop(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        tokio::select! {
            ended = accept_for_ever(listener) => ended,
            _ = parent_gone => Ok(()),
        }
    })
}

async fn accept_for_ever(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        tokio::spawn(echo_one_byte(stream));
    }
}

/// With the settings that the comparison is about; everything else is a default.
pub(super) fn anteroom_server(runtime: &Runtime, config: Config) -> io::Result<()> {
    runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(listener.local_addr())?, |_| String::new())?;
        let service = service_fn(|connection: Connection| echo_one_byte(connection));
        let server = Server::builder().config(config).serve(listener, service).start()?;
        tokio::select! {
            ended = server => Ok(ended.map(drop)?),
            _ = parent_gone => Ok(()),
        }
    })
}

/// The plain loop again, with one line changed.
pub(super) fn anteroom_incoming(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let mut incoming = Incoming::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(incoming.local_addr())?, |_| String::new())?;
        let accept = async {
            while let Some(connection) = incoming.accept().await? {
                #[expect(clippy::disallowed_methods, reason = "the same loop as the plain one")]
                tokio::spawn(echo_one_byte(connection));
            }
            Ok(())
        };
        tokio::select! {
            ended = accept => ended,
            _ = parent_gone => Ok(()),
        }
    })
}
