//! Advice for a server that does not take the offer of permessage-deflate as it should.

use wskeeper_core::deflate::{MOST_BITS, Takeover};
use wskeeper_link::endpoint::Endpoint;

/// Advice for a 400 to an upgrade with the offer.
pub(super) fn about_offer(config: &Endpoint) -> String {
    let other = asking_less(config);
    format!(
        "The offer of permessage-deflate may be the reason: some servers, such as Node's ws, answer 400 to an offer that they cannot accept. Try this: {other}. \
         If that does not help, check the URL, `headers` and `protocols`."
    )
}

/// Advice for an answer with an extension, or with parameters, that wskeeper did not ask for.
pub(super) fn about_extension(config: &Endpoint) -> String {
    if config.compression.is_offered {
        let other = asking_less(config);
        format!(
            "The server's answer does not match the offer of permessage-deflate. Some servers, such as nats-server, do not look at all that is asked for. Try this: {other}. \
             Tell the operators of the server."
        )
    } else {
        "The server, or a proxy in front of it, uses an extension that was not offered. Only its operators can mend that.".into()
    }
}

/// What to set where a server does not take the offer.
fn asking_less(config: &Endpoint) -> String {
    let offer = config.compression.offer;
    if offer.context == Takeover::Both && offer.window_bits == MOST_BITS {
        return "set `compression = \"off\"`".into();
    }
    format!(
        "set `compression_context = \"both\"` and `compression_window_bits = {MOST_BITS}`, which asks for least, or `compression = \"off\"`"
    )
}
