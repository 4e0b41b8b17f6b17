% Terms of the symbolic models and what an attacker makes of them (Dolev and Yao: primitives are perfect).
%
%   n(X)            a secret name: scalar, signing key, decapsulation key, randomness, text
%   c(X)            a public constant: label, user, number
%   dh(Xs)          the point that multiplying the base by the scalars Xs (sorted) gives; dh([]) is the base
%   vk(X)           public half of the signing key X
%   pk(X) ct(X,R) ss(X,R)   KEM: public key, ciphertext and shared secret of randomness R
%   sig(X,M)        signature over M, which shows M
%   h(M)            hash, MAC and key derivation: one way, one label a use inside M
%   aead(K,A,M)     sealed with associated data; the same term for equal inputs
%   [..]            a tuple
:- module(terms, [can/2, learn/3, shor/2, times/3]).

% times(X, Point, Shared): X25519, with the equation of the exponents.
times(X, dh(Xs), dh(Ys)) :- msort([X|Xs], Ys).

% can(K, T): whoever knows K (analysed, see learn) can make T.
can(K, T) :- memberchk(T, K), !.
can(K, T) :- make(T, K), !.

make(c(_), _).
make([], _).
make([T|Ts], K) :- can(K, T), can(K, Ts).
make(dh([]), _).
make(dh(Xs), K) :- select(X, Xs, Rest), can(K, n(X)), can(K, dh(Rest)).
make(vk(X), K) :- can(K, n(X)).
make(pk(X), K) :- can(K, n(X)).
make(ct(X, R), K) :- can(K, n(R)), can(K, pk(X)).
make(ss(X, R), K) :- can(K, n(R)), can(K, pk(X)).
make(ss(X, R), K) :- can(K, n(X)), can(K, ct(X, R)).
make(sig(X, M), K) :- can(K, n(X)), can(K, M).
make(h(M), K) :- can(K, M).
make(aead(Key, Ad, M), K) :- can(K, Key), can(K, M), can(K, Ad).

% learn(Ts, K0, K): K is K0 with Ts and with everything that these open.
learn(Ts, K0, K) :- foldl(take, Ts, K0, K1), settle(K1, K).

take(T, K, K) :- memberchk(T, K), !.
take(T, K0, [T|K]) :- parts(T, Ps), foldl(take, Ps, K0, K).

parts(T, T) :- is_list(T), !.
parts(sig(_, M), [M]) :- !.
parts(_, []).

settle(K0, K) :-
    member(aead(Key, _, M), K0), \+ memberchk(M, K0), can(K0, Key), !,
    take(M, K0, K1), settle(K1, K).
settle(K, K).

% shor(K0, K): every discrete logarithm of a point that is known, as a large quantum computer finds it.
shor(K0, K) :-
    findall(n(X), (member(dh(Xs), K0), member(X, Xs)), Ns),
    learn(Ns, K0, K1),
    ( length(K0, N), length(K1, N) -> K = K1 ; shor(K1, K) ).
