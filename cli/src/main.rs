//! The program `switchyard`: starts a router or a bridge, or asks a bridge.

use std::process::ExitCode;

mod client;
#[cfg(feature = "server")]
mod server;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|first| first.to_str()) {
        #[cfg(feature = "server")]
        Some("router") => server::router(args.skip(1)),
        #[cfg(feature = "server")]
        Some("bridge") => server::bridge(args.skip(1)),
        _ => client::main(args),
    }
}
