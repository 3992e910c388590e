//! What would help where a server and the offer of permessage-deflate do not fit each other.

use wskeeper_core::deflate::{MOST_BITS, Takeover};
use wskeeper_link::endpoint::Endpoint;

/// What to do about a 400 where it was offered.
pub(super) fn about_offer(config: &Endpoint) -> String {
    let offer = config.compression.offer;
    let asks_least = offer.context == Takeover::Both && offer.window_bits == MOST_BITS;
    let other = if asks_least {
        "set `compression = \"off\"`".to_owned()
    } else {
        format!(
            "set `compression_context = \"both\"` and `compression_window_bits = {MOST_BITS}`, which asks for least, or `compression = \"off\"`"
        )
    };
    format!(
        "The offer of permessage-deflate may be the reason, for some servers (Node's ws) refuse one that they cannot keep to: {other}. If that does not \
         help, check the URL, `headers` and `protocols`."
    )
}

/// What to do about an answer with an extension as nobody asked for.
pub(super) fn about_extension(config: &Endpoint) -> String {
    if config.compression.is_offered {
        "The server does not keep to the offer of permessage-deflate: set `compression = \"off\"`, and report it to the people who run the server.".into()
    } else {
        "The server uses an extension that was not offered, or a proxy before it that offers one does: that is for the people who run it to mend.".into()
    }
}
