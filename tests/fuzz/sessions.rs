//! Sessions with any server: whatever it says and whenever, a session does not panic, ends once, and holds no deadline that is over.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use wskeeper::config::parse_toml;
use wskeeper_core::{
    chance::Chance,
    message::Payload,
    session::{Answer, Brought, Kept, Outside, Plan, Session, Start, Verdict},
};

/// Those of the documentation.
static PLANS: LazyLock<Vec<Arc<Plan>>> = LazyLock::new(|| {
    let blocks = include_str!("../../docs/sessions.md").split("```toml\n").skip(1);
    plans(&blocks.map(|rest| rest.split("```").next().unwrap_or_default()).collect::<String>())
});
static EPOCH: LazyLock<Instant> = LazyLock::new(|| tokio::time::Instant::now().into_std());

fn plans(text: &str) -> Vec<Arc<Plan>> {
    let Ok(loaded) = parse_toml(text, "f.toml") else { return Vec::new() };
    let sessions = loaded.config.endpoints.into_values().filter_map(|endpoint| endpoint.held.session.clone());
    sessions.map(|session| Arc::clone(&session.plan)).collect()
}

/// The first byte says which session; 255: its keys follow, up to a byte 0. Then come messages, each behind its length, and time.
pub(crate) fn session(data: &[u8]) {
    let Some((which, mut rest)) = data.split_first() else { return };
    let plan = if *which == u8::MAX {
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let keys = String::from_utf8_lossy(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        plans(&format!("[endpoints.e]\nurl = \"ws://e/\"\n[endpoints.e.session]\n{keys}")).pop()
    } else {
        PLANS.get(usize::from(*which) % PLANS.len()).cloned()
    };
    let Some(plan) = plan else { return };
    let mut bench = Bench::begin(plan);
    while let [what, behind @ ..] = rest {
        let length = usize::from(*what & 0x7F).min(if *what < 0x80 { behind.len() } else { 0 });
        let (said, behind) = behind.split_at(length);
        rest = behind;
        match what {
            0..0x80 => bench.hear(said),
            0x80..0xC0 => bench.pass(Duration::from_millis(u64::from(what & 0x3F).pow(3))),
            0xC0..0xD0 => bench.act(Session::take_over),
            0xD0..0xE0 => bench.act(|session, outside| session.leave(Duration::from_secs(1), outside)),
            0xE0..0xF0 => bench.act(|session, outside| session.message_leaves(outside.now)),
            0xF0.. => bench.session.step_aside(),
        }
    }
    bench.pass(Duration::from_hours(1));
}

struct Bench {
    session: Session,
    now: Instant,
    chance: Chance,
    kept: Option<Box<Kept>>,
    is_over: bool,
}

impl Bench {
    fn begin(plan: Arc<Plan>) -> Self {
        let (now, mut chance) = (*EPOCH, Chance::new(7));
        let start = Start {
            secrets: vec!["hunter2".into(); 64].into(),
            plan,
            wall: Duration::from_secs(1),
            at: now,
            endpoint: "e".into(),
            link: 0,
            dialled: None,
            is_watched: true,
        };
        let session = Session::begin(start, 1, None, &mut outside(now, &mut chance));
        let mut bench = Self { session, now, chance, kept: None, is_over: false };
        bench.note();
        bench
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Session, &mut Outside<'_>) -> R) {
        act(&mut self.session, &mut outside(self.now, &mut self.chance));
        self.note();
    }

    fn hear(&mut self, said: &[u8]) {
        let payload = Payload::text(said.to_vec().into()).unwrap_or_else(|_| Payload::binary(said.to_vec()));
        self.act(|session, outside| session.handle(&payload, outside));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // A timer may be short: not all of an hour need pass.
        for _ in 0..200 {
            let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            self.act(Session::handle_timeout);
            assert!(self.session.poll_timeout().is_none_or(|next| next > self.now), "a deadline stayed due");
        }
        self.now = end;
    }

    /// Takes what it has, and answers what it asks for.
    fn note(&mut self) {
        for _ in 0..100 {
            self.session.remember(&mut self.kept, false);
            while let Some(verdict) = self.session.poll_verdict() {
                assert!(!self.is_over, "{verdict:?} after the end");
                self.is_over = matches!(verdict, Verdict::End(_));
            }
            while self.session.poll_transmit().is_some() {}
            let Some(ask) = self.session.poll_ask() else { return };
            let answer = match ask.id % 4 {
                0 => Err("no way".into()),
                1 => Ok(Brought::Made("a value".into())),
                _ => Ok(Brought::Answer(Answer::of(200, "{\"token\":\"t\",\"n\":1}"))),
            };
            self.session.errand_done(ask.id, answer, &mut outside(self.now, &mut self.chance));
        }
    }
}

fn outside(now: Instant, chance: &mut Chance) -> Outside<'_> {
    let (pace, stable) = (Duration::from_secs(1), Duration::from_secs(30));
    Outside { now, pace, stable, chance, wanted: None, is_beside: false }
}
