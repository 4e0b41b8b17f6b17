// Sections "Invites" and "Linking": links, proofs, and the frames of two devices of one person.
import { shake256 } from '@noble/hashes/sha3.js';
import { ml_kem768_x25519 as xwing } from '@noble/post-quantum/hybrid.js';
import { Exp, Ext, H, HMAC, LP8, ascii, bin, cat, hex, must, open, peerID, reader, refuses, same, seal, u16, u24, u8 } from './lib.mjs';

export const name = 'links.json';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
export function base32(bytes) {
  const bits = [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('');
  return bits.match(/.{1,5}/g).map((q) => ALPHABET[parseInt(q.padEnd(5, '0'), 2)]).join('');
}
function unbase32(text) {
  const bits = [...text].map((c) => { must(ALPHABET.includes(c), 'letter'); return ALPHABET.indexOf(c).toString(2).padStart(5, '0'); }).join('');
  const bytes = Uint8Array.from((bits.match(/.{8}/g) ?? []).map((b) => parseInt(b, 2)));
  must(base32(bytes.length ? bytes : [0]) === text || (bytes.length === 0 && text === ''), 'another spelling');
  return bytes;
}
const linkID = (secret) => H(ascii('kith1 invite'), secret).slice(0, 8);

const headOf = (l) => cat(u8(16 + l.kind), u24(l.expires_hours), bin(l.user), bin(l.secret), ...(l.hint ? [bin(l.hint.host_key), u8(l.hint.transports), bin(l.hint.ip), u16(l.hint.port)] : []));
const peersOf = (l) => cat(...l.peers.map((p) => cat(LP8(peerID(bin(p.host_key))), u8(p.addresses.length), ...p.addresses.map((a) => LP8(bin(a))))));
function parse(text) {
  text = text.trim().toUpperCase();
  must(text.length <= 4096 && text.startsWith('KITH:'), 'scheme');
  const parts = text.slice(5).split('.'), r = reader(unbase32(parts[0]));
  must(parts.length <= 2, 'parts');
  const kind = r.u8();
  must(kind === 17 || kind === 18, 'version, kind');
  r.take(3 + 20 + 16);
  if (r.left()) { r.take(32); const t = r.u8(); r.take(4); must(t >= 1 && t <= 3 && r.u16() > 0, 'hint'); }
  r.end();
  if (parts.length === 1) return;
  const p = reader(unbase32(parts[1]));
  let n = 0;
  for (; p.left(); n++) {
    const id = p.lp8(), addresses = p.u8();
    must(same(id.slice(0, 6), peerID([])) && id.length === 38 && addresses <= 8, 'peer');
    for (let i = 0; i < addresses; i++) { const a = p.lp8(); must(a.length >= 1 && a.length <= 128, 'address'); }
  }
  must(n >= 1 && n <= 4, 'peers');
}
function link(l) {
  const head = headOf(l), short = `KITH:${base32(head)}`, text = l.peers.length ? `${short}.${base32(peersOf(l))}` : short;
  parse(short); parse(` ${text.toLowerCase()}\n`);
  return { ...l, head: hex(head), short, text, link_id: hex(linkID(bin(l.secret))) };
}
function refusedLinks(l) {
  const short = `KITH:${base32(headOf(l))}`, head = headOf(l), peer = l.peers[0];
  const cases = {
    'its scheme': short.replace('KITH', 'KITE'), 'its version': `KITH:${base32(cat([0x21], head.slice(1)))}`, 'a kind that is known': `KITH:${base32(cat([0x13], head.slice(1)))}`, 'a whole head': `KITH:${base32(head.slice(0, 39))}`,
    'nothing behind the hint': `KITH:${base32(cat(head, [0]))}`, 'a whole hint': `KITH:${base32(head.slice(0, 60))}`, 'a transport': `KITH:${base32(cat(head.slice(0, 72), [0], head.slice(73)))}`, 'a port': `KITH:${base32(cat(head.slice(0, 77), [0, 0]))}`,
    'one spelling': `${short.slice(0, -1)}${ALPHABET[ALPHABET.indexOf(short.at(-1)) + 1]}`, 'no padding': `${short}=`, 'letters of base32': `${short.slice(0, 20)}1${short.slice(21)}`, 'peers behind the point': `${short}.`,
    'at most 4 peers': `${short}.${base32(peersOf({ peers: Array(5).fill(peer) }))}`, 'at most 8 addresses': `${short}.${base32(peersOf({ peers: [{ ...peer, addresses: Array(9).fill(peer.addresses[0]) }] }))}`, 'no empty address': `${short}.${base32(peersOf({ peers: [{ ...peer, addresses: [''] }] }))}`,
    'whole peers': `${short}.${base32(peersOf(l).slice(0, -1))}`, 'one point': `${short}.${base32(peersOf(l))}.${base32(peersOf(l))}`,
  };
  return Object.entries(cases).map(([rule, text]) => {
    must(refuses(() => parse(text)), `not refused: ${rule}`);
    return { rule, link: text };
  });
}

// HPKE (RFC 9180): base mode, X-Wing, HKDF-SHA256, ChaCha20-Poly1305.
const KEM = 0x647a, SUITE = cat(ascii('HPKE'), u16(KEM), u16(1), u16(3));
const extractL = (salt, label, ikm) => Ext(salt, cat(ascii('HPKE-v1'), SUITE, ascii(label), ikm));
const expandL = (prk, label, info, n) => Exp(prk, cat(u16(n), ascii('HPKE-v1'), SUITE, ascii(label), info), n);
function schedule(shared, info) {
  const none = new Uint8Array(), context = cat([0], extractL(none, 'psk_id_hash', none), extractL(none, 'info_hash', info)), secret = extractL(shared, 'secret', none);
  return [expandL(secret, 'key', context, 32), expandL(secret, 'base_nonce', context, 12)];
}
// DeriveKeyPair of draft-ietf-hpke-pq: how this implementation makes its key from 32 stored bytes. Nobody else has to.
const deriveKey = (ikm) => xwing.keygen(shake256(cat(ikm, ascii('HPKE-v1'), ascii('KEM'), u16(KEM), u16(13), ascii('DeriveKeyPair'), u16(32)), { dkLen: 32 }));

function pairing(p) {
  const secret = bin(p.secret), { publicKey, secretKey } = deriveKey(bin(p.seed)), mac = (label, ...parts) => HMAC(secret, ascii(label), ...parts);
  const body = cat(linkID(secret), publicKey, bin(p.sig_pub), bin(p.ik_pub), LP8(ascii(p.name))), hello = cat(body, mac('kith1 link hello', body));
  const { cipherText, sharedSecret } = xwing.encapsulate(publicKey, bin(p.kem_entropy));
  must(same(xwing.decapsulate(cipherText, secretKey), sharedSecret), 'X-Wing');
  const [key, nonce] = schedule(sharedSecret, mac('kith1 link snapshot', hello)), sealed = seal(key, nonce, new Uint8Array(), bin(p.snapshot));
  must(same(open(key, nonce, new Uint8Array(), sealed), bin(p.snapshot)), 'snapshot');
  const framed = (label, value) => { const inner = cat(linkID(secret), value); return cat(inner, mac(label, hello, inner)); };
  return {
    secret: p.secret, seed: p.seed, sig_pub: p.sig_pub, ik_pub: p.ik_pub, name: p.name, kem_entropy: p.kem_entropy, snapshot: p.snapshot, record: p.record, list: p.list,
    hello: hex(hello), welcome: hex(cat(cipherText, sealed)), record_frame: hex(framed('kith1 link record', bin(p.record))), listed_frame: hex(framed('kith1 link listed', bin(p.list))),
  };
}

export function build(v) {
  const links = v.links.map(link);
  return {
    about: 'Links (docs/protocol.md, sections 8 and 9). Bytes are hex. In each case the first fields are inputs. seed and kem_entropy of a pairing are what the new device makes its X-Wing key from and what the old one draws; record and list stand for a device record and a device list.',
    links, refused: refusedLinks(links.find((l) => l.hint && l.peers.length)),
    proofs: v.proofs.map(({ secret, inviter, joiner, device }) => ({ secret, inviter, joiner, device, join: hex(HMAC(bin(secret), ascii('kith1 join'), bin(inviter), bin(joiner), bin(device))), welcome: hex(HMAC(bin(secret), ascii('kith1 welcome'), bin(inviter), bin(joiner), bin(device))) })),
    pairings: v.pairings.map(pairing),
  };
}
