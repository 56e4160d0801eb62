// This compiles if signaling.d.ts declares what signaling.js has: see test_declarations.py.

import type * as declared from "./signaling.js";
import type * as written from "./written.js";

/** Whether two types are the same. Different types may still be assignable to each other. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** The names that only one of two types has, or that have different types in them. */
type Differing<A, B> = {
  [Name in keyof A | keyof B]: Name extends keyof A & keyof B
    ? Same<Pick<A, Name>, Pick<B, Name>> extends true
      ? never
      : Name
    : Name;
}[keyof A | keyof B];

/** Accepts no names. Otherwise the compiler's message says which they are. */
type None<Names extends never> = Names;

type Names<Module> = { [Name in keyof Module]: Name };

/** The members of a class and not of every EventTarget, whose events only the declarations know. */
type Own<Class extends new (...args: never) => EventTarget> = Omit<
  InstanceType<Class> & { constructor: ConstructorParameters<Class> },
  keyof EventTarget
>;

export type Exports = None<Differing<Names<typeof declared>, Names<typeof written>>>;
export type Members = None<
  Differing<Own<typeof declared.SignalingClient>, Own<typeof written.SignalingClient>>
>;
