/**
 * What test files import as `vitest` inside a virtual machine: vitest's own runner and expect, without its server,
 * workers and transforms, which take minutes on an emulated processor.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  customMatchers,
  type ExpectStatic,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect';
import * as runner from '@vitest/runner';

export const { afterAll, afterEach, beforeAll, beforeEach, describe, it } = runner;

/** What JestExtend adds, and its types do not say. */
interface Extendable {
  extend(expect: ExpectStatic, matchers: object): void;
}

function makeExpect(): ExpectStatic {
  chai.use(JestExtend);
  chai.use(JestChaiExpect);
  chai.use(JestAsymmetricMatchers);
  const make = (value: unknown, message?: string) => chai.expect(value, message);
  const asymmetric: unknown = Reflect.get(globalThis, ASYMMETRIC_MATCHERS_OBJECT);
  const made = Object.assign(make, chai.expect, asymmetric) as unknown as ExpectStatic;
  setState({ assertionCalls: 0 }, made);
  (chai.expect as unknown as Extendable).extend(made, customMatchers);
  return made;
}

export const expect = makeExpect();
