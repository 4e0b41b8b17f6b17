package vault

// Stretch turns a passphrase and a salt into a key as the key file does it:
// Argon2id, about 0.1 s of one machine.
func Stretch(passphrase []byte, salt [16]byte) [32]byte { return argon(passphrase, salt) }
