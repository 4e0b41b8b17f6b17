module github.com/kith-im/kith/crypto/compare

go 1.26.0

replace github.com/kith-im/kith => ../..

require (
	github.com/kith-im/kith v0.0.0-00010101000000-000000000000
	github.com/status-im/doubleratchet v3.0.0+incompatible
	go.mau.fi/libsignal v0.2.1
)

require (
	filippo.io/edwards25519 v1.1.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)
