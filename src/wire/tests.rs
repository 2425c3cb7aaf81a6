//! Frames survive the way, and bytes that are no frames are refused without a panic.

use super::*;
use proptest::prelude::*;

fn read_all(bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
    let mut reader = FrameReader::new(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn a_long_message_is_cut_and_put_together_while_others_pass() {
    let long = Frame::new(Kind::Reply, 7, (0..5 * MAX_BODY / 2).map(|i| i as u8).collect());
    let bytes = long.encode();
    let first = HEADER + MAX_BODY;
    let other = Frame::new(Kind::Progress, 8, b"{}".to_vec());
    let mut mixed = bytes[..first].to_vec();
    mixed.extend(other.encode());
    mixed.extend(&bytes[first..]);
    assert_eq!(read_all(&mixed).unwrap(), [other, long]);
}

#[test]
fn exactly_one_body_is_one_frame() {
    for length in [0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 2 * MAX_BODY] {
        let frame = Frame::new(Kind::Task, 1, vec![3; length]);
        let bytes = frame.encode();
        assert_eq!(bytes.len(), length + HEADER * length.div_ceil(MAX_BODY).max(1), "{length}");
        assert_eq!(read_all(&bytes).unwrap(), [frame]);
    }
}

#[test]
fn what_is_no_frame_has_a_typed_error() {
    let header = |length: u32, kind: u8| [&length.to_be_bytes()[..], &[kind], &[0; 4]].concat();
    assert!(matches!(read_all(&header(0, 0)), Err(WireError::UnknownKind(0))));
    assert!(matches!(read_all(&header(0, 200)), Err(WireError::UnknownKind(200))));
    assert!(matches!(read_all(&header(MAX_BODY as u32 + 1, 3)), Err(WireError::FrameTooLong(_))));
    assert!(matches!(read_all(&header(u32::MAX, 3)), Err(WireError::FrameTooLong(_))));
    assert!(matches!(read_all(&header(5, 3)), Err(WireError::Truncated)));
    assert!(matches!(read_all(&header(5, 3)[..4]), Err(WireError::Truncated)));
    assert!(read_all(b"").unwrap().is_empty());
}

#[test]
fn endless_parts_are_stopped() {
    let mut assembler = Assembler::default();
    let mut result = Ok(None);
    for _ in 0..=MAX_MESSAGE / MAX_BODY {
        result = assembler.take(Frame::new(Kind::Part, 1, vec![0; MAX_BODY]));
    }
    assert!(matches!(result, Err(WireError::MessageTooLong)));
}

#[test]
fn errors_and_debug_output_do_not_quote_bodies() {
    let frame = Frame::new(Kind::Task, 1, br#"{"module": "s3cret-value", "mode": "s3cret-value"}"#.to_vec());
    let error = frame.parse::<TaskRequest>().unwrap_err();
    assert!(!format!("{error} {error:?} {frame:?}").contains("s3cret"));
}

proptest! {
    #[test]
    fn any_frames_survive(frames in prop::collection::vec(
        (1u8..=21, any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20))
    {
        let frames: Vec<Frame> =
            frames.into_iter().map(|(k, id, body)| Frame::new(Kind::from_number(k).unwrap(), id, body)).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(|f| f.encode()).collect();
        prop_assert_eq!(read_all(&bytes).unwrap(), frames);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn a_cut_stream_is_never_mistaken_for_a_whole(body in prop::collection::vec(any::<u8>(), 1..200), cut in 1usize..200) {
        let bytes = Frame::new(Kind::Reply, 1, body).encode();
        let cut = cut.min(bytes.len() - 1);
        prop_assert!(matches!(read_all(&bytes[..bytes.len() - cut]), Err(WireError::Truncated) | Ok(_)));
        if bytes.len() - cut > 0 {
            prop_assert!(read_all(&bytes[..bytes.len() - cut]).is_err());
        }
    }
}
