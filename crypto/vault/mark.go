package vault

import (
	"bytes"
	"encoding/binary"
)

// markPlace is whose blinded form checks a mark; places of a store begin with
// another byte.
const markPlace = "\x00\x01mark"

// Mark names the current key of a class without telling it: a store writes it
// when nothing in it needs another one, so that it is known later whether store
// and file are of one time. 28 bytes: serial u32 | the first 8 bytes of
// Blind(place | class u8 | serial | key) | Blind(place | class u8 | all before).
func (v *Vault) Mark(c Class) []byte {
	mark := v.name(c, v.current(c))
	check := v.Blind(append([]byte(markPlace), append([]byte{byte(c)}, mark...)...))
	return append(mark, check[:]...)
}

func (v *Vault) name(c Class, k storeKey) []byte {
	serial := binary.BigEndian.AppendUint32(nil, k.serial)
	of := append([]byte(markPlace), byte(c))
	of = append(append(of, serial...), k.key[:]...)
	check := v.Blind(of)
	return append(serial, check[:nameSize-4]...)
}

// Holds says whether the key that was current when mark was made is still in
// the keyring: if not, store or file is an older copy. A store without a mark
// is of a time when keys did not say when they were made. A mark that this
// vault did not make is ErrDamaged.
func (v *Vault) Holds(mark []byte, c Class) (bool, error) {
	if mark == nil {
		return v.ring.store[c][0].made == 0, nil
	}
	if len(mark) != markSize {
		return false, ErrDamaged
	}
	name := mark[:nameSize]
	if v.Blind(append([]byte(markPlace), append([]byte{byte(c)}, name...)...)) != [blindSize]byte(mark[nameSize:]) {
		return false, ErrDamaged
	}
	for _, k := range v.ring.store[c] {
		if bytes.Equal(v.name(c, k), name) {
			return true, nil
		}
	}
	return false, nil
}
