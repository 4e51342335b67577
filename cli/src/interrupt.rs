//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Listens for Ctrl-C and SIGTERM from the moment of the call, and ends when one comes. Where signals cannot be listened
/// for, never: only killing the process ends it then.
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

/// Whether the command was told to stop, from now on: what is missed while nobody waits for it is not lost.
pub(crate) struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Begins to listen.
    pub(crate) fn listen() -> Self {
        let (tell, told) = tokio::sync::watch::channel(false);
        let interrupted = interrupted();
        tokio::spawn(async move {
            interrupted.await;
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
