//! Schedules: a run asks at every step what happens, and the explorer sees to it that every answer is given once.
//!
//! A run is a function of the answers it gets, so a schedule is the list of those answers, and a failing one replays from its text.
//! Deliberately not here: what the answers mean.

use std::fmt;

/// Where answers come from.
#[derive(Debug, Clone)]
enum Mode {
    /// All answers, one schedule after the other.
    Every,
    /// Pseudo-random: one step in so many gets an answer that is not 0.
    Random { state: u64, one_in: u32 },
    /// As written down: (step, answer) where the answer is not 0.
    Written(Vec<(usize, u32)>),
}

/// The answers of one run. Answer 0 always means: nothing unusual happens.
#[derive(Debug, Clone)]
pub struct Choices {
    mode: Mode,
    /// Answer and the largest answer possible, per step.
    taken: Vec<(u32, u32)>,
    at: usize,
}

impl Choices {
    fn new(mode: Mode) -> Self {
        Self { mode, taken: Vec::new(), at: 0 }
    }

    /// The answers that a failing run printed: `17=1,40=2`, empty for none.
    ///
    /// # Panics
    /// If it is no such text.
    pub fn written(text: &str) -> Self {
        let pair = |p: &str| p.split_once('=').and_then(|(step, answer)| Some((step.parse().ok()?, answer.parse().ok()?)));
        let answers = text.split(',').filter(|p| !p.is_empty()).map(|p| pair(p).unwrap_or_else(|| panic!("`{p}` is not STEP=ANSWER"))).collect();
        Self::new(Mode::Written(answers))
    }

    /// An answer from 0 to `upto`, which is rarely not 0 when answers are random.
    pub fn choose(&mut self, upto: u32) -> u32 {
        self.answer(upto, false)
    }

    /// An answer from 0 to `upto`, all equally likely when answers are random.
    pub fn pick(&mut self, upto: u32) -> u32 {
        self.answer(upto, true)
    }

    fn answer(&mut self, upto: u32, even: bool) -> u32 {
        if self.at == self.taken.len() {
            let answer = match &mut self.mode {
                Mode::Every => 0,
                Mode::Written(answers) => answers.iter().find(|(step, _)| *step == self.at).map_or(0, |(_, a)| (*a).min(upto)),
                Mode::Random { state, one_in } => {
                    let (one_in, mut draw) = (*one_in, || split_mix(state));
                    let bound = u64::from(upto) + 1;
                    if even {
                        (draw() % bound) as u32
                    } else if upto > 0 && draw() % u64::from(one_in) == 0 {
                        1 + (draw() % u64::from(upto)) as u32
                    } else {
                        0
                    }
                }
            };
            self.taken.push((answer, upto));
        }
        let (answer, bound) = self.taken[self.at];
        assert_eq!(bound, upto, "a run is not a function of its answers: step {} has other choices than before", self.at);
        self.at += 1;
        answer
    }

    /// Steps asked so far.
    pub fn steps(&self) -> usize {
        self.at
    }

    /// On to the next schedule in order; false if that was the last.
    fn advance(&mut self) -> bool {
        // Answers beyond where the last run ended belong to no schedule.
        self.taken.truncate(self.at);
        self.at = 0;
        while let Some((answer, bound)) = self.taken.pop() {
            if answer < bound {
                self.taken.push((answer + 1, bound));
                return true;
            }
        }
        false
    }
}

/// What [`Choices::written`] reads.
impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = self.taken[..self.at].iter().enumerate().filter(|(_, (answer, _))| *answer > 0);
        for (n, (step, (answer, _))) in unusual.enumerate() {
            write!(f, "{}{step}={answer}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What exploring came to.
#[derive(Debug, Default)]
pub struct Explored {
    pub runs: u64,
    pub violations: u64,
    /// The first violation, with the schedule that replays it.
    pub first: Option<String>,
}

impl Explored {
    fn take(&mut self, choices: &Choices, seed: Option<u64>, result: Result<(), String>) {
        self.runs += 1;
        if let Err(what) = result {
            self.violations += 1;
            let seed = seed.map(|s| format!(" (seed {s})")).unwrap_or_default();
            self.first.get_or_insert_with(|| format!("{what}\n  schedule{seed}: \"{choices}\""));
        }
    }

    /// The number of runs.
    ///
    /// # Panics
    /// With the first violation, if there was one.
    pub fn clean(self, what: &str) -> u64 {
        assert!(self.runs > 0, "{what}: nothing was explored");
        if let Some(first) = self.first {
            panic!("{what}: {} of {} schedules violate the protocol; the first: {first}", self.violations, self.runs);
        }
        self.runs
    }

    /// The number of violations: for what must be caught.
    ///
    /// # Panics
    /// If there was none.
    pub fn caught(self, what: &str) -> u64 {
        assert!(self.violations > 0, "{what}: none of {} schedules shows what is wrong with it: the simulator is blind", self.runs);
        self.violations
    }
}

/// Runs every schedule. `run` must be a function of the answers alone.
pub fn every(mut run: impl FnMut(&mut Choices) -> Result<(), String>) -> Explored {
    let mut explored = Explored::default();
    let mut choices = Choices::new(Mode::Every);
    loop {
        let result = run(&mut choices);
        explored.take(&choices, None, result);
        if !choices.advance() {
            return explored;
        }
    }
}

/// As [`every`], until the first violation.
pub fn first_violation(mut run: impl FnMut(&mut Choices) -> Result<(), String>) -> Explored {
    let mut explored = Explored::default();
    let mut choices = Choices::new(Mode::Every);
    loop {
        let result = run(&mut choices);
        explored.take(&choices, None, result);
        if explored.violations > 0 || !choices.advance() {
            return explored;
        }
    }
}

/// Runs `runs` random schedules, with the seeds from `seed` on; a step in `one_in` is unusual.
pub fn random(seed: u64, runs: u64, one_in: u32, mut run: impl FnMut(&mut Choices) -> Result<(), String>) -> Explored {
    let mut explored = Explored::default();
    for seed in seed..seed + runs {
        let mut choices = Choices::new(Mode::Random { state: seed, one_in });
        let result = run(&mut choices);
        explored.take(&choices, Some(seed), result);
    }
    explored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_comes_once_and_replays() {
        let mut seen = Vec::new();
        let explored = every(|c| {
            let mut left = 2;
            let mut path = String::new();
            for _ in 0..4 {
                let answer = if left > 0 { c.choose(2) } else { 0 };
                left -= u32::from(answer > 0);
                path.push_str(&answer.to_string());
            }
            let mut again = Choices::written(&c.to_string());
            let mut left = 2;
            for (i, want) in path.bytes().enumerate() {
                let answer = if left > 0 { again.choose(2) } else { 0 };
                left -= u32::from(answer > 0);
                assert_eq!(answer, u32::from(want - b'0'), "step {i} of {path}");
            }
            seen.push(path);
            Ok(())
        });
        // No fault; one of 4 steps, two kinds; two of 4 steps, two kinds each.
        assert_eq!(explored.runs, 1 + 4 * 2 + 6 * 4);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len() as u64, explored.runs);
    }

    #[test]
    fn the_first_violation_says_how_to_replay_it() {
        let explored = every(|c| if (0..5).map(|_| c.choose(1)).sum::<u32>() == 2 { Err("two".into()) } else { Ok(()) });
        assert_eq!(explored.violations, 10);
        assert!(explored.first.unwrap().contains("schedule: \"3=1,4=1\""));
    }
}
