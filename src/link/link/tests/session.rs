//! A session over a driven connection: what the peer sees first, what follows its refusal, and who carries what while it rotates.

use std::time::Duration;

use super::{bench::Bench, peer::Peer};
use wskeeper_core::{
    close::Cause,
    event::Event,
    link::{Policy, Verb},
    message::Kind,
    phase::{Phase, Reason},
    session::{
        Act, Answer, Body, Brought, Call, CallTls, Do, Expression, Matcher, Plan, Pointer, Rule, Send, Source, Step,
        Text, TextPart, Then,
    },
};

fn says(parts: &[TextPart]) -> Act {
    Act::Send(Box::new(Send { body: Body::Text(Text(parts.into())), kind: Kind::Text }))
}

fn literal(text: &str) -> TextPart {
    TextPart::Literal(text.into())
}

fn rule(text: &str, act: Do) -> Rule {
    Rule { matcher: Matcher { text: Some(Expression::literal(text).unwrap()), ..Matcher::default() }, act }
}

/// A login, `welcome` or `no`, and a farewell.
fn plan() -> Plan {
    let step = Step::of;
    let hidden = Do { hide: true, ..Do::default() };
    let refused = Do { then: Then::Fail("unauthorized".into()), ..hidden.clone() };
    Plan {
        open: [
            step(says(&[literal("login "), TextPart::Value(Source::Secret(0))])),
            step(Act::Expect {
                alternatives: [rule("welcome", hidden.clone()), rule("no", refused)].into(),
                timeout: Duration::from_secs(10),
            }),
        ]
        .into(),
        timeout: Duration::from_secs(30),
        leave: [step(says(&[literal("bye")]))].into(),
        max_json: 1 << 20,
        ..Plan::default()
    }
}

async fn text(peer: &mut Peer) -> String {
    loop {
        let (first, payload) = peer.next().await.expect("a frame");
        match first {
            0x81 => return String::from_utf8(payload.to_vec()).expect("text"),
            0x89 => peer.frame(0x8A, &payload).await,
            other => panic!("{other:x}: {payload:?}"),
        }
    }
}

/// The peer takes the login, which must be the first that it sees.
async fn log_in(bench: &mut Bench) -> Peer {
    let mut peer = bench.peer().await;
    assert_eq!(text(&mut peer).await, "login hunter2");
    peer.text("welcome").await;
    peer
}

#[tokio::test(start_paused = true)]
async fn a_login_leaves_before_what_was_queued_on_each_connection() {
    let mut bench = Bench::with_session(plan(), Policy::default());
    for number in 0..3 {
        let queued = format!("queued {number}");
        bench.send(queued.as_str().into()).await;
        let mut peer = log_in(&mut bench).await;
        assert_eq!(text(&mut peer).await, queued);
        peer.text("an answer").await;
        assert_eq!(bench.messages(number + 1).await.last(), Some(&"an answer".into()), "`welcome` is hidden");
        drop(peer);
    }
    let hidden = bench.events().iter().filter(|event| matches!(event, Event::Hidden(_))).count();
    assert_eq!(hidden, 3);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_parks_the_link_and_the_peers_words_are_kept() {
    let mut bench = Bench::with_session(plan(), Policy::default());
    for _ in 0..2 {
        let mut peer = bench.peer().await;
        assert_eq!(text(&mut peer).await, "login hunter2");
        peer.text("no: hunter2 has expired").await;
        assert_eq!(peer.next_close().await, 1000);
        peer.close(1000, "").await;
    }
    bench.phase(Phase::Parked).await;
    let closed = bench.closed().await;
    assert_eq!((closed.cause, closed.label.as_deref()), (Cause::Session, Some("unauthorized")));
    assert_eq!(&*closed.detail, "the peer said: no: *** has expired");
    let parked = |event: &Event| matches!(event, Event::Phase { to: Phase::Parked, reason: Reason::Unauthorized, .. });
    assert!(bench.events().iter().any(parked));
    assert!(!format!("{:?}", bench.events()).contains("hunter2"), "no event has the secret");
}

#[tokio::test(start_paused = true)]
async fn while_it_rotates_each_message_goes_once_and_the_successor_has_logged_in_before() {
    const ROUNDS: u64 = 20;
    let mut bench = Bench::with_session(plan(), Policy::default());
    let mut old = log_in(&mut bench).await;
    bench.phase(Phase::Ready).await;
    let (mut sent, mut seen) = (0_u64, 0_u64);
    for generation in 2..2 + ROUNDS {
        bench.send(format!("{sent}").as_str().into()).await;
        sent += 1;
        bench.verb(Verb::Rotate).await;
        let mut new = bench.peer().await;
        assert_eq!(text(&mut new).await, "login hunter2");
        // The old one carries on while the successor logs in.
        bench.send(format!("{sent}").as_str().into()).await;
        sent += 1;
        while seen < sent {
            assert_eq!(text(&mut old).await, format!("{seen}"));
            seen += 1;
        }
        new.text("welcome").await;
        let follow = async {
            // It answers pings for as long as it is asked to, and hears the farewell.
            assert_eq!(text(&mut old).await, "bye");
            assert_eq!(old.next_close().await, 1000);
            old.close(1000, "").await;
        };
        follow.await;
        let rotated = |event: &Event| matches!(event, Event::Rotated { to, .. } if *to == generation);
        bench.until("rotated", |seen| seen.events.iter().any(rotated).then_some(())).await;
        old = new;
    }
    bench.send("last".into()).await;
    assert_eq!(text(&mut old).await, "last");
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_farewell_and_ends_in_time() {
    let mut bench = Bench::with_session(plan(), Policy::default());
    let mut peer = log_in(&mut bench).await;
    bench.phase(Phase::Ready).await;
    bench.stop(Duration::from_secs(5)).await;
    assert_eq!(text(&mut peer).await, "bye");
    assert_eq!(peer.next_close().await, 1001);
    peer.close(1001, "").await;
    drop(peer);
    assert!(bench.end().await <= Duration::from_secs(5));
}

/// A ticket by HTTP, which is then said.
fn ticketed() -> Plan {
    let mut plan = Plan { timeout: Duration::from_secs(30), max_json: 1 << 20, ..Plan::default() };
    let ticket = plan.names.intern("ticket").unwrap();
    let call = Call {
        method: "POST".into(),
        url: Text(vec![literal("https://api.test/"), TextPart::Value(Source::Secret(0))].into()),
        headers: [].into(),
        body: None,
        timeout: Duration::from_secs(10),
        max_bytes: 64,
        tls: CallTls::Endpoint,
        extract: [(ticket, Pointer::parse("/ticket").unwrap())].into(),
        expect: [].into(),
    };
    let step = Step::of;
    plan.open = [step(Act::Http(Box::new(call))), step(says(&[TextPart::Value(Source::Var(ticket, None))]))].into();
    plan
}

fn answer(status: u16, body: &'static str) -> Brought {
    Brought::Answer(Answer::of(status, body))
}

#[tokio::test(start_paused = true)]
async fn an_answer_by_http_comes_to_the_connection_that_asked_and_to_no_other() {
    let mut bench = Bench::with_session(ticketed(), Policy::default());
    let gone = bench.peer().await;
    let (request, late) = bench.calls.recv().await.expect("a call");
    assert_eq!((&*request.method, &*request.url), ("POST", "https://api.test/hunter2"));
    drop(gone);
    let mut peer = bench.peer().await;
    let (_, reply) = bench.calls.recv().await.expect("a call of the second connection");
    assert!(late.is_closed(), "the call of a connection that has ended is aborted");
    let _ = late.send(Ok(answer(200, "{\"ticket\": \"old\"}")));
    reply.send(Ok(answer(200, "{\"ticket\": \"new\"}"))).expect("it is waited for");
    assert_eq!(text(&mut peer).await, "new");
    bench.phase(Phase::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_ends_the_connection_and_says_why_without_what_is_secret() {
    for (done, label, told) in [
        (
            Err("the path /hunter2 is not there".into()),
            "http",
            "the call of open[0] failed: the path /*** is not there",
        ),
        (
            Ok(answer(500, "no hunter2 today")),
            "http",
            "the call of open[0] was answered with status 500 and said: no *** today",
        ),
        (Ok(answer(302, "")), "http", "the call of open[0] was answered with status 302; redirects are not followed"),
        (Ok(answer(401, "")), "unauthorized", "the call of open[0] was answered with status 401"),
    ] {
        let mut bench = Bench::with_session(ticketed(), Policy::default());
        let _peer = bench.peer().await;
        bench.calls.recv().await.expect("a call").1.send(done).expect("it is waited for");
        let closed = bench.closed().await;
        assert_eq!((closed.label.as_deref(), &*closed.detail), (Some(label), told));
    }
    let mut bench = Bench::with_session(ticketed(), Policy::default());
    let _peer = bench.peer().await;
    let _call = bench.calls.recv().await;
    let closed = bench.closed().await;
    assert_eq!(
        (closed.label.as_deref(), &*closed.detail),
        (Some("timeout"), "the call of open[0] was not answered in time")
    );
}
