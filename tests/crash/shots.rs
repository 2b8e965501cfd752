//! SIGKILL at random moments, 200 times, while new files arrive.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::landing::{Landing, sluis};

const PIPELINE: &str = r#"
from:
  files: { url: in/ }
  csv: { columns: { id: bigint, word: string } }
into:
  table: { name: shot }
  files: { url: out/, format: csv }
limits: { files: 2 }
"#;
const SHOTS: u32 = 200;
/// The longest time that a process lives, in microseconds: at first, and within what it follows the machine's speed.
const LIFE: u64 = 200_000;
const LIVES: std::ops::RangeInclusive<u64> = 5_000..=1_000_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Kills a process. Whether it was still alive.
fn shoot(mut child: Child) -> bool {
    let alive = child.try_wait().expect("a child").is_none();
    // SIGKILL.
    child.kill().expect("a child");
    let status = child.wait().expect("a child");
    assert!(alive || status.code().is_some_and(|c| c == 0 || c == 4), "it ended by itself with {status}");
    alive
}

#[test]
fn two_hundred_shots_lose_nothing_and_land_nothing_twice() {
    let seed = std::env::var("SHOTS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    eprintln!("SHOTS_SEED={seed}");
    let mut dice = Dice(seed);
    let mut landing = Landing::new(PIPELINE, "");
    let (mut hits, mut life) = (0, LIFE);
    for shot in 1..=SHOTS {
        for _ in 0..2 + dice.below(3) {
            landing.arrive();
        }
        // Every tenth time two processes stand at one pipeline.
        let count = if shot % 10 == 0 { 2 } else { 1 };
        let children: Vec<Child> = (0..count).map(|_| sluis().start(landing.path(), &["run", "--quiet"])).collect();
        let until = Instant::now() + Duration::from_micros(dice.below(life));
        landing.arrive();
        std::thread::sleep(until.saturating_duration_since(Instant::now())); // the moment of the shot
        let hit = children.into_iter().map(shoot).filter(|alive| *alive).count() > 0;
        hits += u32::from(hit);
        // Most shots are to meet a process at work, and some one that is nearly done.
        life = (if hit { life * 21 / 20 } else { life * 4 / 5 }).clamp(*LIVES.start(), *LIVES.end());
    }
    assert!(hits >= SHOTS / 2, "only {hits} of {SHOTS} shots met a living process");
    landing.run();
    landing.check_books();
    landing.check_table("shot");
    landing.check_files();
    landing.check_lake();
}
