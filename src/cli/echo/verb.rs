//! `wskeeper echo`: the peer alone, until Ctrl-C.

use std::sync::Arc;

use super::{Closing, Faults, Peer, Refusing};
use crate::cli::{Failure, args, output::Output};

/// Serves until SIGINT or SIGTERM.
pub(in crate::cli) async fn run(args: args::Echo, output: &Output) -> Result<(), Failure> {
    let (listen, quiet) = (args.listen.clone(), args.quiet);
    let facts = output.clone();
    let tell = Arc::new(move |fact: super::Fact| {
        if !quiet {
            // A reader that has gone away is no reason to stop serving.
            let _ = facts.line(format_args!("{fact}"));
        }
    });
    let peer = Peer::start(listen.as_str(), faults(args), tell).await.map_err(|error| {
        Failure::Failed(format!("cannot listen on {listen}: {error}. Choose another address with --listen, or port 0."))
    })?;
    let before = if quiet { "" } else { "listening on " };
    output.line(format_args!("{before}{}", peer.url()))?;
    crate::cli::stopped().await;
    Ok(())
}

fn faults(args: args::Echo) -> Faults {
    Faults {
        drop_every: args.drop_every,
        stall: args.stall,
        close: args.close_code.map(|code| Closing { code, reason: args.close_reason, after: args.close_after }),
        refuse: args.refuse.map(|refusal| Refusing { refusal, lasting: args.refuse_for, every: args.refuse_every }),
        half_open: args.half_open,
        delay: args.delay,
        subprotocol: args.subprotocol,
        compression: args.compression,
    }
}
