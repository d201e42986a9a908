/** linux.resources.devices: general lists of rules, by the v1 list and by the v2 program alike. */
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OciWorld } from '../../support/oci-world.ts';

const { EPERM } = constants.errno;
const NULL = ['c', '1', '3'] as const;
const ZERO = ['c', '1', '5'] as const;
/** /dev/port: a device that no container has. */
const PORT = ['c', '1', '4'] as const;

let oci: OciWorld;
beforeAll(() => {
  oci = new OciWorld();
});
afterAll(() => oci.destroy());

/** What opening a node to read it says, 0 or errno. */
async function opened(rules: readonly object[], node: readonly string[]): Promise<number | null> {
  const linux = { resources: { devices: rules } };
  return (await oci.ran(['device', ...node], { linux })).code;
}

const everything = (allow: boolean) => ({ allow, access: 'rwm' });
const memory = (allow: boolean, minor: number, access: string) => ({ allow, type: 'c', major: 1, minor, access });

describe('a list of devices', () => {
  it('that denies everything leaves those which every container has', async () => {
    expect(await opened([everything(false)], NULL)).toBe(0);
    expect(await opened([everything(false)], PORT)).toBe(EPERM);
  });

  it('opens what it names and nothing beside it', async () => {
    const rules = [everything(false), memory(true, 4, 'rw')];
    expect(await opened(rules, PORT)).not.toBe(EPERM);
    expect(await opened(rules, ['c', '1', '1'])).toBe(EPERM);
  });

  it('that allows everything closes what it names and nothing beside it', async () => {
    const rules = [everything(true), memory(false, 5, 'r')];
    expect(await opened(rules, ZERO)).toBe(EPERM);
    expect(await opened(rules, NULL)).toBe(0);
  });

  it('is read in order: the last word on a device holds', async () => {
    const closed = [everything(true), memory(false, 5, 'rw')];
    expect(await opened([...closed, memory(true, 5, 'r')], ZERO)).toBe(0);
    expect(await opened([...closed, memory(true, 5, 'w')], ZERO)).toBe(EPERM);
    expect(await opened([everything(false), memory(true, 4, 'rw'), everything(false)], PORT)).toBe(EPERM);
  });
});
