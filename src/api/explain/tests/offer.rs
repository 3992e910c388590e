//! The same of what may be behind a 400, and of permessage-deflate.

use super::*;

#[test]
fn a_server_that_asked_for_a_certificate_before_it_refused_may_have_wanted_it() {
    let refused = |status, detail| {
        let mut view = detailed(Cause::Upgrade, detail);
        if let Some(last) = &mut view.last_close {
            last.0.status = Some(status);
        }
        plain(view)
    };
    let asked = "the server answered the upgrade with status 400, not with 101; it had asked for a client certificate, and got none";
    let plainly = "the server answered the upgrade with status 400, not with 101";
    hold([
        ("set tls.cert and tls.key", refused(400, asked), refused(400, plainly)),
        ("set tls.cert and tls.key", refused(403, asked), refused(404, asked)),
    ]);
}

#[test]
fn a_400_is_put_down_to_the_offer_only_where_there_was_one() {
    let with = |code, keys: &str| (status(code), at("wss://h.example/v1", keys));
    let (auto, least) = ("compression = \"auto\"", "compression = \"auto\"\ncompression_context = \"both\"");
    hold([
        ("permessage-deflate may be the reason", with(400, auto), plain(status(400))),
        ("permessage-deflate may be the reason", with(400, auto), with(404, auto)),
        ("`compression_context = \"both\"`", with(400, auto), with(400, least)),
        ("`compression = \"off\"`", with(400, least), plain(status(400))),
    ]);
}

#[test]
fn an_extension_as_nobody_asked_for_is_told_as_that_and_not_as_a_wrong_url() {
    let failed = |detail: &str, keys: &str| (detailed(Cause::Upgrade, detail), at("wss://h.example/v1", keys));
    let twice = "the server's 101 is not valid: it uses permessage-deflate twice";
    let unasked = "the server's 101 is not valid: it uses an extension that was not offered";
    let no_token = "the server's 101 is not valid: its Upgrade header does not say websocket";
    let auto = "compression = \"auto\"";
    hold([
        ("does not match the offer", failed(twice, auto), failed(no_token, auto)),
        ("does not match the offer", failed(unasked, auto), failed(unasked, "")),
        ("an extension that was not offered", failed(unasked, ""), failed(no_token, "")),
        ("does not speak WebSocket", failed(no_token, auto), failed(unasked, "")),
    ]);
}
