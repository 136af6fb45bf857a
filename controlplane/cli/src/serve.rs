//! `adit serve`: the control plane as a process.
//!
//! Reads the configuration, says where everything is, and ends on SIGTERM or SIGINT. What it serves is `server`'s.

use std::path::PathBuf;

use adit_server::{Server, Settings};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::ending::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration, TOML; without one everything has a default, and the state is in ./adit-server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
}

/// Serves until it is told to end.
pub(crate) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let settings = match &args.config {
        Some(path) => Settings::read(path),
        None => Settings::defaults(),
    };
    let settings = settings.map_err(Failure::config)?;
    if args.check {
        output.result("the configuration is right", &json!({"ok": true}));
        return Ok(());
    }
    log();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime did not start: {error}")))?
        .block_on(serve(settings, output))
}

async fn serve(settings: Settings, output: Output) -> Result<(), Failure> {
    let ended = |error| Failure::failed(format!("no signal handlers: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(ended)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ended)?;
    let roots = settings.state.join("ca.pem");
    let again = settings.clone();
    let server = Server::start(settings).await.map_err(Failure::failed)?;
    let address = server.address();
    let mut text = format!(
        "serving on https://{address}\nroot       {} ({})",
        roots.display(),
        server.pin()
    );
    if let Some(token) = server.setup_token_file() {
        text.push_str(&format!(
            "\nsetup      nobody can log in yet; make the first administrator with\n           \
             adit login https://{address} --root {} --setup {}",
            roots.display(),
            token.display()
        ));
    }
    output.result(
        text,
        &json!({
            "address": address.to_string(),
            "root": roots,
            "pin": server.pin(),
            "setup_token_file": server.setup_token_file(),
        }),
    );
    let mut server = server;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = server.replaced() => {
                server.stop().await;
                let mut settings = again.clone();
                settings.listen = address;
                server = Server::start(settings).await.map_err(Failure::failed)?;
            }
        }
    }
    server.stop().await;
    Ok(())
}

/// Events go to standard error; `RUST_LOG` says which, `info` if it is silent.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .finish();
    // A second one is a bug of ours, and the first goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
