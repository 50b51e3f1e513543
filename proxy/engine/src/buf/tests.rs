//! Tests of the buffers: each slot comes back exactly once, and no window sees another's bytes.

use super::*;

/// Fills a slot as an engine would.
fn received(pool: &Rc<Pool>, id: u32, bytes: &[u8]) -> Buf {
    assert!(bytes.len() <= pool.slot_bytes());
    // SAFETY: the slot has that many bytes, and no window on it exists.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pool.slot_ptr(id), bytes.len()) };
    pool.adopt(id, bytes.len())
}

fn returned(pool: &Pool) -> Vec<u32> {
    let mut ids = Vec::new();
    pool.take_returned(|id| ids.push(id));
    ids
}

fn joined(parts: &Parts) -> Vec<u8> {
    parts.iter().flatten().copied().collect()
}

#[test]
fn a_slot_comes_back_once_after_its_last_window() {
    let pool = Pool::new(4, 16);
    let mut buf = received(&pool, 2, b"head and body");
    let head = buf.split_to(5);
    let word = buf.split_to(4);
    assert_eq!((&*head, &*word, &*buf), (&b"head "[..], &b"and "[..], &b"body"[..]));
    assert_eq!(pool.held(), 1);
    drop(head);
    drop(buf);
    assert_eq!((pool.held(), returned(&pool)), (1, vec![]));
    drop(word);
    assert_eq!((pool.held(), returned(&pool)), (0, vec![2]));
    assert_eq!(returned(&pool), []);
}

#[test]
fn the_slot_returned_last_is_taken_first() {
    let pool = Pool::new(4, 16);
    let (a, b) = (received(&pool, 0, b"a"), received(&pool, 1, b"b"));
    drop(b);
    drop(a);
    assert_eq!(pool.pop_returned(), Some(0));
    pool.push_returned(0);
    assert_eq!((pool.pop_returned(), pool.pop_returned(), pool.pop_returned()), (Some(0), Some(1), None));
}

#[test]
#[should_panic(expected = "out already")]
fn refuses_a_slot_that_is_out() {
    let pool = Pool::new(4, 16);
    let _held = received(&pool, 3, b"x");
    drop(pool.adopt(3, 1));
}

#[test]
#[should_panic(expected = "longer than a slot")]
fn refuses_more_bytes_than_a_slot_has() {
    drop(Pool::new(4, 16).adopt(0, 17));
}

#[test]
fn windows_shrink_from_both_ends_and_empty_ones_hold_their_slot_too() {
    let pool = Pool::new(1, 16);
    let mut buf = received(&pool, 0, b"0123456789");
    buf.advance(2);
    buf.truncate(5);
    assert_eq!(&*buf, b"23456");
    buf.truncate(50);
    assert_eq!(buf.len(), 5);
    let none = buf.split_to(0);
    assert!(none.is_empty());
    buf.advance(5);
    assert!(buf.is_empty());
    drop(buf);
    assert_eq!(pool.held(), 1);
    drop(none);
    assert_eq!(pool.held(), 0);
    let mut empty = Buf::empty();
    assert!(empty.split_to(0).is_empty());
}

#[test]
fn a_buffer_outlives_the_handle_on_its_pool() {
    let pool = Pool::new(1, 16);
    let buf = received(&pool, 0, b"still here");
    drop(pool);
    assert_eq!(&*buf, b"still here");
}

/// Writes to three windows on the same bytes in turn; none reaches another.
fn write_to_windows(mut last: Buf) {
    assert_eq!(&*last, b"aaabbbbcc");
    let mut first = last.split_to(3);
    let mut middle = last.split_to(4);
    // All three are borrowed mutably at once.
    let (f, m, l) = (&mut first[..], &mut middle[..], &mut last[..]);
    m.copy_from_slice(b"MMMM");
    f.fill(b'F');
    l[1] = b'L';
    m[0] = b'm';
    assert_eq!((&f[..], &m[..], &l[..]), (&b"FFF"[..], &b"mMMM"[..], &b"cL"[..]));
    middle.advance(1);
    middle.truncate(2);
    middle.reverse();
    middle.fill(b'-');
    assert_eq!((&*first, &*middle, &*last), (&b"FFF"[..], &b"--"[..], &b"cL"[..]));
}

#[test]
fn writing_to_a_window_touches_no_other() {
    let pool = Pool::new(2, 9);
    let neighbour = received(&pool, 1, b"neighbour");
    write_to_windows(received(&pool, 0, b"aaabbbbcc"));
    assert_eq!(&*neighbour, b"neighbour");
    write_to_windows(Buf::from_vec(b"aaabbbbcc".to_vec()));
}

#[test]
fn a_copy_made_for_scarce_slots_is_written_to_on_its_own() {
    let pool = Pool::new(1, 16);
    let mut copied = received(&pool, 0, b"head body");
    let mut kept = copied.split_to(5);
    copied[0] = b'B';
    assert!(copied.relieve(), "the only slot is out");
    copied[1] = b'O';
    kept.fill(b'h');
    assert_eq!((&*kept, &*copied), (&b"hhhhh"[..], &b"BOdy"[..]));
    drop(kept);
    assert_eq!(pool.held(), 0);
    write_to_windows({
        let mut whole = Buf::from_vec(b"..aaabbbbcc".to_vec());
        whole.advance(2);
        whole
    });
}

#[test]
fn an_empty_buffer_holds_nothing_and_can_be_written_to() {
    let mut empty = Buf::from_vec(Vec::new());
    empty.fill(1);
    assert!(empty.is_empty() && empty.split_to(0).is_empty() && !empty.relieve());
}

#[test]
fn parts_keep_their_order_at_every_cut() {
    let pool = Pool::new(1, 16);
    let all = b"written, received, static";
    for cut in 0..=all.len() {
        let mut out = OutBuf::new();
        out.extend_from_slice(b"written, ");
        let mut parts = Parts::new();
        parts.push(Part::Out(out));
        parts.push(Part::In(received(&pool, 0, b"received, ")));
        parts.push(Part::Static(b""));
        parts.push(Part::Static(b"static"));
        assert_eq!(parts.bytes(), all.len());
        parts.advance(cut);
        assert_eq!(joined(&parts), &all[cut..]);
        assert_eq!(pool.held(), usize::from(cut < 19), "the slot goes back as soon as it is sent");
        drop(parts);
        assert_eq!(pool.held(), 0);
    }
}

#[test]
#[should_panic(expected = "past the end")]
fn parts_refuse_to_go_past_their_end() {
    Parts::from(&b"12"[..]).advance(3);
}

#[test]
fn a_written_buffer_is_used_again_unless_it_grew_large() {
    let mut out = OutBuf::new();
    out.extend_from_slice(b"some bytes");
    let place = out.as_ptr();
    drop(out);
    let again = OutBuf::new();
    assert_eq!((again.as_ptr(), again.len()), (place, 0));
    drop(again);
    let mut large = OutBuf::new();
    large.reserve(KEPT_OUT_BUF_BYTES + 1);
    drop(large);
    assert!(OutBuf::new().capacity() <= KEPT_OUT_BUF_BYTES);
}
