//! Typed values to text: what the CSV and JSON encoders and every cast to text write.
//!
//! Deliberately not here: quoting, nulls. Guarantees: what is written is read back by this crate as the same value.

use std::io::Write;

use super::time::DAY;

/// An integer.
#[inline]
pub fn int(v: i64, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    digits(v.unsigned_abs().into(), 1, out);
}

/// Digits of `v`, at least `least` of them.
fn digits(mut v: u128, least: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 40];
    let mut at = buffer.len();
    // In 64 bits as soon as it fits: 128-bit division is slow.
    while v > u128::from(u64::MAX) {
        at -= 1;
        buffer[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    let mut v = v as u64;
    while v > 0 {
        at -= 1;
        buffer[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    out.extend_from_slice(&buffer[at.min(buffer.len() - least)..]);
}

/// A decimal with `scale` digits after the point.
pub fn decimal(v: i128, scale: i8, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    let scale = scale.max(0) as usize;
    let from = out.len();
    digits(v.unsigned_abs(), scale + 1, out);
    if scale > 0 {
        let at = out.len() - scale;
        debug_assert!(at > from);
        out.insert(at, b'.');
    }
}

/// The shortest text that reads back as the same number; `NaN`, `inf`, `-inf`.
pub fn float64(v: f64, out: &mut Vec<u8>) {
    write_to(out, format_args!("{v:?}"));
}

/// Likewise, in single precision.
pub fn float32(v: f32, out: &mut Vec<u8>) {
    write_to(out, format_args!("{v:?}"));
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// `2024-02-29` from days since 1970-01-01.
pub fn date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days.into());
    if (0..=9999).contains(&year) {
        digits(year as u128, 4, out);
    } else {
        write_to(out, format_args!("{year:+05}"));
    }
    out.push(b'-');
    digits(month.into(), 2, out);
    out.push(b'-');
    digits(day.into(), 2, out);
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
        digits(part.into(), 2, out);
    }
    let fraction = micros % 1_000_000;
    if fraction > 0 {
        out.push(b'.');
        digits(fraction as u128, 6, out);
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
