//! Interruption by Ctrl-C or SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Listens for Ctrl-C and SIGTERM from the moment of the call. The future ends when one of them arrives. If the handlers
/// cannot be installed, it never ends, and only SIGKILL stops the command.
pub(crate) fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [terminated, interrupted] = signals.map(|signal| async move {
            match signal {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        });
        tokio::select! {
            () = terminated => {}
            () = interrupted => {}
        }
    }
}

/// Remembers whether the command was interrupted. An interruption is not lost if nothing waits for it at that moment.
pub(crate) struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Starts listening for an interruption.
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        let interrupted = interrupted();
        tokio::spawn(async move {
            interrupted.await;
            sender.send_replace(true);
        });
        Self(receiver)
    }

    /// Whether the command was interrupted.
    pub(crate) fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the interruption. Returns at once if it has already happened.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
