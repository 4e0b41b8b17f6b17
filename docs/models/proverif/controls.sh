#!/bin/sh
# Makes the controls: a question together with the library, one rule of which is left out. Each must come out false.
set -eu
cd "$(dirname "$0")"

control() { # NAME QUESTION WHAT SED-ARGUMENTS…
  name=$1 question=$2 what=$3
  shift 3
  {
    echo "(* CONTROL, made by controls.sh of handshake.pvl and $question. Expected: FALSE. $what *)"
    { sed '1,2d' handshake.pvl; sed '1,/\*)$/d' "$question"; } | sed "$@"
  } >"$name"
}

control control-no-kem.pv harvest-now.pv 'The KEM secret does not enter the key.' \
  -e 's/kss(PQ, r)) in/none) in/' -e 's/smul(ikB, E), kdec(pq, ct)) in/smul(ikB, E), none) in/'
control control-no-list.pv secrecy.pv 'Whoever is named by a bundle is taken for a device.' \
  -e '/the list names the device keys/d'
control control-no-user-in-bundle.pv key-share.pv 'The bundle need not name the user whose list names the device.' \
  -e 's/if verify(dB, bsig, (lBundle, akB, dB, IKb, SPK, PQ)) = true then.*/in(c, akX: vk); if verify(dB, bsig, (lBundle, akX, dB, IKb, SPK, PQ)) = true then/' \
  -e 's/let bh = H((lBundle, akB, dB, IKb, SPK, PQ, bsig)) in/let bh = H((lBundle, akX, dB, IKb, SPK, PQ, bsig)) in/'
control control-no-bundle-hash.pv key-share.pv 'The bundle is not in the transcript.' \
  -e 's/t1 = H((lHs1, bh, /t1 = H((lHs1, /'
control control-accept-before-confirmation.pv sender.pv 'The enclosed message need not open.' \
  -e 's/let text = adec(msgkey(root, d4), (ad, hdr), body) in/in(c, text: bitstring);/' \
  -e 's/let (=lOne, RA: point) = adec(hdrkey(kdfhka(ck, d3, t2)), (ad, lOne), hdr) in/in(c, RA: point);/' \
  -e 's/^query A, DA, B, DB: vk, ad, t: bitstring/query A, DA, B, DB: vk, ad, t, sent: bitstring/' \
  -e 's/event(AStart(A, DA, B, DB, ad, t, p, q))/event(AStart(A, DA, B, DB, ad, sent, p, q))/'
control control-no-sender-key.pv sender.pv 'd3 does not enter the key.' \
  -e 's/let d3 = smul(ikA, SPK) in/let d3 = g in/' -e 's/let d3 = smul(spk, IKa) in/let d3 = g in/'
