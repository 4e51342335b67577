//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Ends at Ctrl-C or SIGTERM. Where signals cannot be listened for, never: only killing the process ends it then.
pub(crate) async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending().await },
    }
}
