// Compiles if signaling.d.ts declares what signaling.js has: see test_declarations.py.

import type * as declared from "./signaling.js";
import type * as written from "./written.js";

/** Whether they are the same type: each could be assigned to the other even where they differ. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** The names of what only one of two has, or each with another type. */
type Differing<A, B> = {
  [Name in keyof A | keyof B]: Name extends keyof A & keyof B
    ? Same<Pick<A, Name>, Pick<B, Name>> extends true
      ? never
      : Name
    : Name;
}[keyof A | keyof B];

/** The compiler's message says which they are. */
type None<Names extends never> = Names;

type Names<Module> = { [Name in keyof Module]: Name };

/** Without what every EventTarget has: of that, only the declarations know which events there are. */
type Own<Class extends new (...args: never) => EventTarget> = Omit<
  InstanceType<Class> & { constructor: ConstructorParameters<Class> },
  keyof EventTarget
>;

export type Exports = None<Differing<Names<typeof declared>, Names<typeof written>>>;
export type Members = None<
  Differing<Own<typeof declared.SignalingClient>, Own<typeof written.SignalingClient>>
>;
