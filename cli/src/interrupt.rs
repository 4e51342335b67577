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

/// Whether the command was told to stop, from now on: what is missed while nobody waits for it is not lost.
pub(crate) struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Begins to listen.
    pub(crate) fn listen() -> Self {
        let (tell, told) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            interrupted().await;
            tell.send_replace(true);
        });
        Self(told)
    }

    /// Whether it was.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is, or was before.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
