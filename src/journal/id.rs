//! Names of runs: the moment in UTC, and a few letters that no other run has. They sort by time.

/// A name for a run that begins at `seconds` since 1970: `20261122-050312-7f3a9c`.
pub fn new_id(seconds: i64, salt: u32) -> String {
    let moment = match jiff::Timestamp::from_second(seconds) {
        Ok(stamp) => stamp.strftime("%Y%m%d-%H%M%S").to_string(),
        Err(_) => "00000000-000000".into(),
    };
    format!("{moment}-{:06x}", salt & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::new_id;

    #[test]
    fn names_sort_by_time() {
        assert_eq!(new_id(1_795_323_792, 0x17f_3a9c), "20261122-050312-7f3a9c");
        assert!(new_id(1_795_323_792, 9) < new_id(1_795_323_793, 1));
        assert_eq!(new_id(i64::MAX, 1), "00000000-000000-000001");
    }
}
