//! Numbers from text: integers, exact decimals to 38 digits, floating point.
//!
//! Deliberately not here: blanks and quotes around a number (the caller strips them), thousands separators.
//! Guarantees: exact or nothing. A value that does not fit its type is `None`, never wrapped or rounded (floating point rounds to nearest).

/// Eight ASCII digits at once; `None` if one of them is none.
#[inline(always)]
fn eight_digits(chunk: [u8; 8]) -> Option<u64> {
    let v = u64::from_le_bytes(chunk);
    let digits = v.wrapping_sub(0x3030_3030_3030_3030);
    // A byte below '0' borrows, a byte above '9' carries into the high nibble: both show in 0x80 or 0xF0 bits.
    if ((v.wrapping_add(0x4646_4646_4646_4646)) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    const MASK: u64 = 0x0000_00FF_0000_00FF;
    let low = (pairs & MASK).wrapping_mul(0x000F_4240_0000_0064);
    let high = ((pairs >> 16) & MASK).wrapping_mul(0x0000_2710_0000_0001);
    Some(low.wrapping_add(high) >> 32)
}

/// At most 18 digits as a number; `None` if empty or anything else than digits.
#[inline(always)]
fn short_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    let mut rest = digits;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        value = value * 100_000_000 + eight_digits(*chunk)?;
        rest = tail;
    }
    let mut bad = 0_u8;
    for &b in rest {
        let d = b.wrapping_sub(b'0');
        bad |= u8::from(d > 9);
        value = value * 10 + u64::from(d);
    }
    if bad == 0 { Some(value) } else { None }
}

/// Splits a sign off: whether negative, and the rest.
#[inline(always)]
fn sign(raw: &[u8]) -> (bool, &[u8]) {
    match raw.first() {
        Some(b'-') => (true, &raw[1..]),
        Some(b'+') => (false, &raw[1..]),
        _ => (false, raw),
    }
}

/// An integer: an optional sign and digits (leading zeros allowed), within 64 bits.
#[inline(always)]
pub fn int64(raw: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(raw);
    if digits.len() <= 18 {
        let v = short_digits(digits)? as i64;
        return Some(if negative { -v } else { v });
    }
    long_int(negative, digits)
}

#[cold]
fn long_int(negative: bool, digits: &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for &b in digits {
        let d = i64::from(b.wrapping_sub(b'0'));
        if d > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(d)? } else { value.checked_add(d)? };
    }
    Some(value)
}

/// Whether it is an optional sign and digits, of any length.
pub fn is_integer(raw: &[u8]) -> bool {
    let (_, digits) = sign(raw);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether it is a plain decimal number (sign, digits, a point or comma, digits), of any length.
pub fn is_decimal(raw: &[u8]) -> bool {
    let (_, digits) = sign(raw);
    let points = digits.iter().filter(|b| matches!(b, b'.' | b',')).count();
    points <= 1 && digits.len() > points && digits.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
}

/// A decimal of `precision` digits, `scale` of them after the point, as the integer value × 10^scale. Digits beyond the scale must be
/// zeros. An exponent (`1.5e3`) is understood.
#[inline(always)]
pub fn decimal(raw: &[u8], precision: u8, scale: i8, point: u8) -> Option<i128> {
    let (negative, digits) = sign(raw);
    let scale = scale as usize;
    if digits.len() <= 18 {
        // The plain case without 128-bit arithmetic: whole[.fraction] with no more fraction than the scale.
        let at = digits.iter().position(|b| *b == point).unwrap_or(digits.len());
        let (whole, fraction) = (&digits[..at], digits.get(at + 1..).unwrap_or(&[]));
        if fraction.len() <= scale && scale - fraction.len() + whole.len() + fraction.len() <= 18 && !(whole.is_empty() && fraction.is_empty()) {
            let w = if whole.is_empty() { Some(0) } else { short_digits(whole) };
            let f = if fraction.is_empty() { Some(0) } else { short_digits(fraction) };
            if let (Some(w), Some(f)) = (w, f) {
                let v = (w * POW10[fraction.len()] + f) * POW10[scale - fraction.len()];
                if precision < 19 && v >= POW10[precision as usize] {
                    return None;
                }
                return Some(if negative { -i128::from(v) } else { i128::from(v) });
            }
        }
    }
    long_decimal(negative, digits, precision, scale, point)
}

const POW10: [u64; 19] = {
    let mut table = [1_u64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Any length, exponents, zeros beyond the scale.
fn long_decimal(negative: bool, text: &[u8], precision: u8, scale: usize, point: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => {
            let (minus, digits) = sign(&text[at + 1..]);
            let e = if digits.len() <= 4 { short_digits(digits)? as i64 } else { return None };
            (&text[..at], if minus { -e } else { e })
        }
    };
    let at = mantissa.iter().position(|b| *b == point).unwrap_or(mantissa.len());
    let (whole, fraction) = (&mantissa[..at], mantissa.get(at + 1..).unwrap_or(&[]));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0_i128;
    // Digits go into the value down to 10^-scale; what is below must be zeros.
    let mut places = whole.len() as i64 + exponent + scale as i64;
    for &b in whole.iter().chain(fraction) {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        if places > 0 {
            value = value.checked_mul(10)?.checked_add(i128::from(d))?;
        } else if d != 0 {
            return None;
        }
        places -= 1;
    }
    if places > 0 && value != 0 {
        value = value.checked_mul(10_i128.checked_pow(u32::try_from(places).ok()?)?)?;
    }
    if value >= 10_i128.pow(u32::from(precision)) {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// A floating point number, rounded to nearest: digits, fraction, exponent, `nan`, `inf`, `infinity`.
#[inline(always)]
pub fn float64(raw: &[u8], point: u8) -> Option<f64> {
    if point == b'.' { fast_float2::parse(raw).ok() } else { fast_float2::parse(with_point(raw, point)?).ok() }
}

/// Like [`float64`], in single precision.
#[inline(always)]
pub fn float32(raw: &[u8], point: u8) -> Option<f32> {
    if point == b'.' { fast_float2::parse(raw).ok() } else { fast_float2::parse(with_point(raw, point)?).ok() }
}

fn with_point(raw: &[u8], point: u8) -> Option<Vec<u8>> {
    if raw.contains(&b'.') {
        return None;
    }
    Some(raw.iter().map(|b| if *b == point { b'.' } else { *b }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_nothing() {
        for v in [0, 1, -1, 7, 99_999_999, 100_000_000, 123_456_789_012, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(int64(v.to_string().as_bytes()), Some(v), "{v}");
        }
        assert_eq!(int64(b"+5"), Some(5));
        assert_eq!(int64(b"007"), Some(7));
        assert_eq!(int64(b"0000000000000000000000042"), Some(42));
        for bad in ["", "-", "+", "1a", "a1", "12345678x", "1234567/", "1234567:", "9223372036854775808", "-9223372036854775809", "1.0", " 1", "--1"]
        {
            assert_eq!(int64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn eight_digits_refuse_every_other_byte() {
        for at in 0..8 {
            for b in 0..=255_u8 {
                let mut chunk = *b"12345678";
                chunk[at] = b;
                assert_eq!(eight_digits(chunk).is_some(), b.is_ascii_digit(), "{b} at {at}");
            }
        }
        assert_eq!(eight_digits(*b"12345678"), Some(12_345_678));
    }

    #[test]
    fn decimals_are_exact_to_38_digits() {
        assert_eq!(decimal(b"12.34", 10, 4, b'.'), Some(123_400));
        assert_eq!(decimal(b"-0.0001", 10, 4, b'.'), Some(-1));
        assert_eq!(decimal(b".5", 10, 4, b'.'), Some(5_000));
        assert_eq!(decimal(b"5.", 10, 4, b'.'), Some(50_000));
        assert_eq!(decimal(b"1,5", 10, 2, b','), Some(150));
        assert_eq!(decimal(b"1.50000000", 10, 2, b'.'), Some(150));
        assert_eq!(decimal(b"1.5e3", 10, 2, b'.'), Some(150_000));
        assert_eq!(decimal(b"15e-1", 10, 2, b'.'), Some(150));
        assert_eq!(decimal("9".repeat(38).as_bytes(), 38, 0, b'.'), Some(10_i128.pow(38) - 1));
        let text = format!("{}.{}", "9".repeat(20), "9".repeat(18));
        assert_eq!(decimal(text.as_bytes(), 38, 18, b'.'), Some(10_i128.pow(38) - 1));
        assert_eq!(decimal(b"0e99", 10, 2, b'.'), Some(0));
        for bad in ["", ".", "-", "1.2.3", "1.23456", "1000000", "1e7", "1e", "e1", "x", "1,5", "1e99999", "1e400"] {
            assert_eq!(decimal(bad.as_bytes(), 10, 4, b'.'), None, "{bad}");
        }
        assert_eq!(decimal("1".repeat(39).as_bytes(), 38, 0, b'.'), None);
    }

    #[test]
    fn floats_with_a_comma() {
        assert_eq!(float64(b"1,5", b','), Some(1.5));
        assert_eq!(float64(b"1.5", b','), None);
        assert_eq!(float64(b"1e3", b'.'), Some(1000.0));
        assert_eq!(float64(b"1.5x", b'.'), None);
        assert_eq!(float64(b"", b'.'), None);
    }
}
