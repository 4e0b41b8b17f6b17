% One post-quantum epoch of docs/protocol.md, section 2.7, in the ratchet of 2.2, after a thief copied a device's
% state: root key and ratchet key of the responder b (the worst moment: the initiator has not answered yet).
%
%   1  a -> b  field 1, encapsulation key        root1 from dh(ra1, rb0)
%   2  b -> a  field 2, ciphertext               root2 from dh(rb1, ra1)
%   3  a -> b  the chain that begins the epoch   root3 from dh(ra2, rb1) and ss
%   4  b -> a  the answer                        root4 from dh(rb2, ra2)
:- module(epoch, [read/3]).
:- use_module(terms).

step(Root, Dh, Pq, h([c(root), Root, Dh, Pq]), h([c(mk), Root, Dh, Pq])).

% message(N, Mk, Ra, Fields, Term): the header is sealed under a key of the state that was stolen, or of one that
% follows from the same roots: it is taken to be open.
message(N, Mk, Point, Fields, [Point, aead(Mk, [c(hdr), Point], [n(text(N)) | Fields])]).

% trace(Opts, K0, K): the four messages on the wire, every one delivered. With `active` the thief answers the proposal
% in b's place, as far as he can.
trace(Opts, K0, K) :-
    times(ra1, dh([rb0]), D1), step(n(root0), D1, c(none), R1, M1),
    message(1, M1, dh([ra1]), [pk(pq)], W1), learn([W1], K0, K1),
    ( memberchk(active, Opts) -> Rb = x, R = r, ( Shown = c(forged) ) ; Rb = rb1, R = enc, Shown = n(text(2)) ),
    times(Rb, dh([ra1]), D2), step(R1, D2, c(none), R2, M2),
    W2 = [dh([Rb]), aead(M2, [c(hdr), dh([Rb])], [Shown, ct(pq, R)])],
    ( memberchk(active, Opts) -> can(K1, W2) ; true ), learn([W2], K1, K2),
    ( memberchk(no_mix, Opts) -> S = c(none) ; S = ss(pq, R) ),
    times(ra2, dh([Rb]), D3), step(R2, D3, S, R3, M3),
    message(3, M3, dh([ra2]), [], W3), learn([W3], K2, K3),
    times(rb2, dh([ra2]), D4), step(R3, D4, c(none), _, M4),
    message(4, M4, dh([rb2]), [], W4), learn([W4], K3, K).

% read(Opts, Stolen, Texts): numbers of the texts that the thief reads. Opts: quantum (discrete logarithms of all that
% was recorded), active, no_mix (control), later (Stolen leaks only at the end).
read(Opts, Stolen, Texts) :-
    findall(T, thing(Stolen, T), Ts),
    ( memberchk(later, Opts) -> learn([n(x), n(r), dh([rb0])], [], K0) ; learn([n(x), n(r), dh([rb0])|Ts], [], K0) ),
    trace(Opts, K0, K1), learn(Ts, K1, K2),
    ( memberchk(quantum, Opts) -> shor(K2, K3) ; K3 = K2 ),
    findall(N, ( member(N, [1, 2, 3, 4]), can(K3, n(text(N))) ), Texts).

thing(Stolen, T) :- member(S, Stolen), ( S = end -> T = h([c(root), R, D, c(none)]), last(R, D) ; S = secret -> T = ss(pq, enc) ; T = n(S) ).

% the root key after message 4
last(R3, D4) :-
    times(ra1, dh([rb0]), D1), step(n(root0), D1, c(none), R1, _),
    times(rb1, dh([ra1]), D2), step(R1, D2, c(none), R2, _),
    times(ra2, dh([rb1]), D3), step(R2, D3, ss(pq, enc), R3, _),
    times(rb2, dh([ra2]), D4).
