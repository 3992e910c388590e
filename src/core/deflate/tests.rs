//! Offers and answers: a table of each, and what holds for any bytes.

use proptest::prelude::*;

use super::*;

const ANY: Proposal = Proposal { context: Takeover::Both, window_bits: 15 };
const LEAN: Proposal = Proposal { context: Takeover::Neither, window_bits: 10 };

fn judged(offer: Proposal, answer: &str) -> Result<Option<String>, Unfit> {
    let agreed = offer.judge([answer.as_bytes()])?;
    Ok(agreed.map(|agreed| agreed.to_string()))
}

#[test]
fn an_offer_says_what_is_asked_for_and_no_more() {
    let offer = |context, window_bits| Proposal { context, window_bits }.text();
    assert_eq!(offer(Takeover::Both, 15), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        offer(Takeover::Peer, 12),
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12"
    );
    assert_eq!(
        offer(Takeover::Neither, 15),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    );
}

#[test]
fn an_answer_within_the_offer_is_agreed_on_and_read_back() {
    let good = [
        ("permessage-deflate", "permessage-deflate"),
        (" permessage-deflate ;\tserver_no_context_takeover ", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate;client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate; client_max_window_bits = 8", "permessage-deflate; client_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=\"10\"", "permessage-deflate; server_max_window_bits=10"),
        (
            ", permessage-deflate; client_max_window_bits=15; server_max_window_bits=9,",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=15",
        ),
    ];
    for (answer, agreed) in good {
        assert_eq!(judged(ANY, answer), Ok(Some(agreed.to_owned())), "{answer}");
    }
    for nothing in ["", " ", ",", ", ,"] {
        assert_eq!(judged(ANY, nothing), Ok(None), "{nothing:?}");
    }
    assert_eq!(ANY.judge([]), Ok(None));
}

#[test]
fn an_answer_that_is_not_as_it_may_be_is_refused() {
    let bad = [
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate, mux",
        "permessage-deflate;",
        "permessage-deflate; ",
        "permessage-deflate; x",
        "permessage-deflate; x=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover=",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+8",
        "permessage-deflate; server_max_window_bits=\"9",
        "permessage-deflate; server_max_window_bits=1\\0",
        "permessage-deflate; client_max_window_bits=-1",
        "permessage-deflate; client_max_window_bits=99999999999999999999",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits=11",
        "permessage-deflate=1",
    ];
    for answer in bad {
        assert!(judged(ANY, answer).is_err(), "{answer}");
    }
    assert!(ANY.judge([&b"permessage-deflate"[..], b"permessage-deflate"]).is_err(), "in two headers");
    assert!(ANY.judge([&b"permessage-deflate; \xFF"[..]]).is_err());
}

#[test]
fn what_the_offer_demands_must_be_answered() {
    let fits = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9";
    let agreed = LEAN.judge([fits.as_bytes()]).unwrap().unwrap();
    assert_eq!(LEAN.as_client(agreed), BothWays { ours: way(false, 9), theirs: way(false, 10) });
    for unfit in [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
    ] {
        assert!(judged(LEAN, unfit).is_err(), "{unfit}");
    }
}

#[test]
fn what_was_not_answered_holds_as_it_was_offered() {
    let peer = Proposal { context: Takeover::Peer, window_bits: 12 };
    let agreed = peer.judge([&b"permessage-deflate; server_max_window_bits=8"[..]]).unwrap().unwrap();
    let ways = BothWays { ours: way(false, 12), theirs: way(true, 8) };
    assert_eq!(peer.as_client(agreed), ways, "nobody asks us to keep ours");
    let agreed = ANY.judge([&b"permessage-deflate"[..]]).unwrap().unwrap();
    assert_eq!(ANY.as_client(agreed), BothWays { ours: way(true, 15), theirs: way(true, 15) });
}

fn way(keeps_context: bool, window_bits: u8) -> OneWay {
    OneWay { keeps_context, window_bits }
}

#[test]
fn a_server_answers_the_first_offer_that_is_as_it_may_be() {
    let answered = |server: Proposal, offers: &[&str]| {
        server.answer(offers.iter().map(|offer| offer.as_bytes())).map(|agreed| agreed.to_string())
    };
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let spare = Proposal { context: Takeover::Neither, window_bits: 15 };
    // As browsers, `ws` and `websockets` offer it.
    assert_eq!(answered(spare, &["permessage-deflate; client_max_window_bits"]).as_deref(), Some(plain));
    let twelve = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
    assert_eq!(answered(ANY, &[twelve]).as_deref(), Some(twelve));
    let lean = format!("{plain}; server_max_window_bits=10");
    assert_eq!(answered(LEAN, &["permessage-deflate"]), Some(lean.clone()), "a client that cannot be limited is not");
    assert_eq!(
        answered(LEAN, &["permessage-deflate; client_max_window_bits"]),
        Some(lean + "; client_max_window_bits=10")
    );
    let declined = [
        "",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        "permessage-deflate; x",
        "permessage-deflate;",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover=1",
    ];
    for offer in declined {
        assert_eq!(answered(ANY, &[offer]), None, "{offer}");
        assert_eq!(
            answered(spare, &[offer, "mux, permessage-deflate"]).as_deref(),
            Some(plain),
            "{offer}, and another"
        );
    }
}

fn offers() -> impl Strategy<Value = Proposal> {
    let context = prop::sample::select(vec![Takeover::Neither, Takeover::Peer, Takeover::Both]);
    (context, LEAST_BITS..=MOST_BITS).prop_map(|(context, window_bits)| Proposal { context, window_bits })
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        NAME,
        SERVER_FORGETS,
        CLIENT_FORGETS,
        SERVER_BITS,
        CLIENT_BITS,
        "; ",
        ";",
        ", ",
        "=",
        "=8",
        "=9",
        "=12",
        "=15",
        "=16",
        "\"",
        " ",
        "é",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// What is agreed on is within the offer, and says of itself what agrees to the same.
    #[test]
    fn whatever_is_answered_what_is_agreed_on_is_what_was_offered(offer in offers(), answer in pieces()) {
        if let Ok(Some(agreed)) = offer.judge([answer.as_bytes()]) {
            prop_assert_eq!(offer.judge([agreed.to_string().as_bytes()]), Ok(Some(agreed)));
            let BothWays { ours, theirs } = offer.as_client(agreed);
            prop_assert!(offer.context != Takeover::Neither || !theirs.keeps_context);
            prop_assert!(offer.context == Takeover::Both || !ours.keeps_context);
            prop_assert!(offer.window_bits == MOST_BITS || theirs.window_bits <= offer.window_bits);
            prop_assert!((SMALLEST..=offer.window_bits).contains(&ours.window_bits));
        }
    }

    /// What one end says it will do, the other is ready for.
    #[test]
    fn what_a_server_of_ours_answers_a_client_of_ours_takes(offer in offers(), server in offers()) {
        let agreed = server.answer([offer.text().as_bytes()]).unwrap();
        prop_assert_eq!(offer.judge([agreed.to_string().as_bytes()]), Ok(Some(agreed)));
        let (client, server) = (offer.as_client(agreed), agreed.as_server());
        for (says, hears) in [(client.ours, server.theirs), (server.ours, client.theirs)] {
            prop_assert!(says.keeps_context <= hears.keeps_context && says.window_bits <= hears.window_bits);
        }
    }

    /// Nor makes a server answer what was not offered.
    #[test]
    fn whatever_is_offered_what_is_answered_is_within_it(server in offers(), offer in pieces()) {
        if let Some(agreed) = server.answer([offer.as_bytes()]) {
            prop_assert!(offer.contains(NAME));
            prop_assert!(agreed.as_server().ours.window_bits <= server.window_bits);
            prop_assert!(agreed.client_bits.is_none() || offer.contains(CLIENT_BITS));
        }
    }

    #[test]
    fn no_bytes_can_make_it_panic(offer in offers(), answer in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (offer.judge([&answer[..]]), offer.answer([&answer[..]]));
    }
}
