//! What a market feed says: updates of order books as JSON, made up from a fixed seed, so that each run has the same.

use std::time::Duration;

use wskeeper_core::chance::Chance;

const SEED: u64 = 18;
const SYMBOLS: [(&str, u64); 6] = [
    ("BTC-USD", 6_421_310),
    ("ETH-USD", 341_877),
    ("SOL-USD", 18_743),
    ("XRP-USD", 6_190),
    ("LTC-USD", 8_455),
    ("DOT-USD", 721),
];
/// Prices on each side of a book.
const DEPTH: u64 = 8;
/// The first update's number, and its time in microseconds since the epoch.
const SEQUENCE: u64 = 81_723_412;
const BEGAN: u64 = 1_767_225_600_000_000;

/// So many updates, each of about 1 KiB, no two of them alike.
pub(crate) fn updates(count: usize) -> Vec<String> {
    let mut chance = Chance::new(SEED);
    let mut books = SYMBOLS;
    let mut at = BEGAN;
    (SEQUENCE..)
        .take(count)
        .map(|sequence| {
            let book = usize::try_from(chance.bits()).unwrap_or_default() % books.len();
            at += chance.bits() % 5_000;
            let (symbol, price) = &mut books[book];
            *price = *price + chance.bits() % 21 - 10;
            update(&mut chance, sequence, at, symbol, *price)
        })
        .collect()
}

fn update(chance: &mut Chance, sequence: u64, at: u64, symbol: &str, price: u64) -> String {
    let time = humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + Duration::from_micros(at));
    let mut side = |of: fn(u64, u64) -> u64| {
        let levels = (1..=DEPTH).map(|away| {
            let (price, size, orders) = (of(price, away), chance.bits() % 1_000_000, 1 + chance.bits() % 9);
            format!("{{\"price\":\"{}\",\"size\":\"{}\",\"orders\":{orders}}}", cents(price), tiny(size))
        });
        levels.collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (side(|price, away| price - away), side(|price, away| price + away));
    let (trade, traded) = (chance.bits(), chance.bits() % 100_000);
    let taker = if chance.bits().is_multiple_of(2) { "buy" } else { "sell" };
    format!(
        "{{\"channel\":\"book\",\"type\":\"update\",\"symbol\":\"{symbol}\",\"sequence\":{sequence},\"time\":\"{time}\",\
         \"bids\":[{bids}],\"asks\":[{asks}],\"last\":{{\"id\":\"{trade:016x}\",\"price\":\"{}\",\"size\":\"{}\",\
         \"side\":\"{taker}\"}},\"checksum\":{}}}",
        cents(price),
        tiny(traded),
        chance.bits() % (1 << 32),
    )
}

fn cents(price: u64) -> String {
    format!("{}.{:02}", price / 100, price % 100)
}

fn tiny(size: u64) -> String {
    format!("{}.{:04}", size / 10_000, size % 10_000)
}
