//! Typed values to text: what the CSV and JSON encoders and every cast to text write.
//!
//! Deliberately not here: quoting, nulls. Guarantees: what is written is read back by this crate as the same value.

use super::time::DAY;

/// An integer.
#[inline]
pub fn int(v: i64, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    short_digits(v.unsigned_abs(), 1, out);
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// Digits of `v`, at least `least` (20 at most) of them.
#[inline]
fn short_digits(mut v: u64, least: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    while v >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[(v % 100) as usize]);
        v /= 100;
    }
    if v > 0 {
        at -= 1;
        buffer[at] = b'0' + v as u8;
    }
    out.extend_from_slice(&buffer[at.min(buffer.len() - least)..]);
}

/// Digits of `v`, at least `least` of them.
fn digits(v: u128, least: usize, out: &mut Vec<u8>) {
    // Nineteen at a time: 128-bit division is slow.
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    match u64::try_from(v) {
        Ok(v) if least <= 20 => short_digits(v, least, out),
        _ => {
            digits(v / CHUNK, least.saturating_sub(19), out);
            short_digits((v % CHUNK) as u64, 19, out);
        }
    }
}

/// Two digits.
#[inline]
fn two(v: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&PAIRS[v as usize]);
}

/// A decimal with `scale` digits after the point.
pub fn decimal(v: i128, scale: i8, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    let scale = scale.max(0) as u32;
    let v = v.unsigned_abs();
    // Whole and fraction apart, in 64 bits where they fit.
    match u64::try_from(v) {
        Ok(v) if scale < 20 => {
            let one = 10_u64.pow(scale.min(19));
            short_digits(v / one, 1, out);
            if scale > 0 {
                out.push(b'.');
                short_digits(v % one, scale as usize, out);
            }
        }
        _ => {
            let one = 10_u128.pow(scale);
            digits(v / one, 1, out);
            if scale > 0 {
                out.push(b'.');
                digits(v % one, scale as usize, out);
            }
        }
    }
}

/// The shortest text that reads back as the same number; `NaN`, `inf`, `-inf`.
#[inline]
pub fn float64(v: f64, out: &mut Vec<u8>) {
    match v.is_finite() {
        true => out.extend_from_slice(ryu::Buffer::new().format_finite(v).as_bytes()),
        false => not_finite(v, out),
    }
}

/// Likewise, in single precision.
#[inline]
pub fn float32(v: f32, out: &mut Vec<u8>) {
    match v.is_finite() {
        true => out.extend_from_slice(ryu::Buffer::new().format_finite(v).as_bytes()),
        false => not_finite(v.into(), out),
    }
}

#[cold]
fn not_finite(v: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(if v.is_nan() {
        b"NaN"
    } else if v > 0.0 {
        b"inf"
    } else {
        b"-inf"
    });
}

/// `2024-02-29` from days since 1970-01-01.
pub fn date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days.into());
    if (0..=9999).contains(&year) {
        two(year as u32 / 100, out);
        two(year as u32 % 100, out);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        short_digits(year.unsigned_abs(), 4, out);
    }
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
}

/// `2024-02-29 12:34:56`, with a fraction if there is one, from microseconds since 1970-01-01.
pub fn timestamp(micros: i64, separator: u8, out: &mut Vec<u8>) {
    let (day, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    // Within 64 bits of microseconds the days fit 32 bits.
    date(day as i32, out);
    out.push(separator);
    time(rest, out);
}

/// `12:34:56`, with a fraction if there is one, from microseconds since midnight.
pub fn time(micros: i64, out: &mut Vec<u8>) {
    let seconds = (micros / 1_000_000) as u32;
    for (n, part) in [seconds / 3600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if n > 0 {
            out.push(b':');
        }
        two(part, out);
    }
    let fraction = micros % 1_000_000;
    if fraction > 0 {
        out.push(b'.');
        short_digits(fraction as u64, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * from_march + 2) / 5 + 1) as u32;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_read_back_as_written() {
        for v in [0, 1, -1, 10, i64::MAX, i64::MIN, 1_234_567] {
            assert_eq!(text(|o| int(v, o)), v.to_string());
        }
        for (v, s, want) in
            [(0, 2, "0.00"), (5, 2, "0.05"), (-123, 2, "-1.23"), (7, 0, "7"), (10_i128.pow(38) - 1, 38, &*format!("0.{}", "9".repeat(38)))]
        {
            assert_eq!(text(|o| decimal(v, s, o)), want);
            assert_eq!(crate::values::numbers::decimal(want.as_bytes(), 38, s, b'.'), Some(v));
        }
        for d in (-800_000..800_000).step_by(17) {
            assert_eq!(crate::values::time::date(text(|o| date(d, o)).as_bytes()), (-719_528..=2_932_896).contains(&d).then_some(d));
        }
        for t in [0, 1, -1, 1_709_210_096_000_000, 1_709_210_096_120_000, -62_135_596_800_000_000] {
            assert_eq!(crate::values::time::timestamp(text(|o| timestamp(t, b' ', o)).as_bytes()).unwrap().0, t);
        }
        assert_eq!(text(|o| timestamp(1_709_210_096_120_000, b'T', o)), "2024-02-29T12:34:56.12");
    }
}
