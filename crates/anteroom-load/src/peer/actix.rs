//! `actix-server`, the accept loop under actix-web.
//!
//! Owns: starting it.
//! Never: its signal handlers, which are for programs.

use super::{
    Serving,
    raw::{echo_one_byte, listener},
    serving::current_thread,
};
use crate::process::answer_parent;
use actix_server::Server;
use actix_service::fn_service;
use std::io;
use tokio::net::TcpStream;

pub(super) fn serve(serving: &Serving) -> io::Result<()> {
    current_thread()?.block_on(async {
        let listener = listener()?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        let mut builder = Server::build().disable_signals();
        if let Some(workers) = serving.workers {
            builder = builder.workers(workers.get());
        }
        let server =
            builder.listen("echo", listener, || fn_service(|stream: TcpStream| echo_one_byte(stream)))?.run();
        tokio::select! {
            ended = server => ended,
            _ = parent_gone => Ok(()),
        }
    })
}
