//! Slots behind images: a written slot is read back, and other bytes are refused.

use edgeprune_format::slot::{self, Slot};

const SLOT: Slot = Slot {
    package_bytes: 3,
    warm_up: 1,
    runs: 70_000,
};

#[test]
fn what_lies_in_a_slot_is_found_again() {
    let mut memory = [0; 2 * Slot::BYTES + 5];
    memory[..Slot::BYTES].copy_from_slice(&SLOT.to_bytes());
    memory[Slot::BYTES..][..3].copy_from_slice(&[7, 8, 9]);
    let (slot, package, rest) = Slot::split(&mut memory).expect("a slot");
    assert_eq!((slot, &*package), (SLOT, [7, 8, 9].as_slice()));
    assert_eq!(rest.len(), 5, "the package is filled up to whole blocks");
}

#[test]
fn memory_without_a_whole_package_is_no_slot() {
    let head = SLOT.to_bytes();
    let mut cut = [0; Slot::BYTES + 2];
    cut[..Slot::BYTES].copy_from_slice(&head);
    assert_eq!(Slot::split(&mut cut), None);
    assert_eq!(Slot::split(&mut [0; 200]), None);
    let mut short = head;
    assert_eq!(Slot::split(&mut short[..60]), None);
}

#[test]
fn an_image_tells_its_slot_by_a_magic_number() {
    let mut image = [0; 24];
    image[8..16].copy_from_slice(&slot::MAGIC.to_le_bytes());
    image[16] = 0x40;
    assert_eq!(slot::offset(&image), Some(0x40));
    image[8] ^= 1;
    assert_eq!(slot::offset(&image), None);
    assert_eq!(slot::offset(&image[..20]), None);
}
