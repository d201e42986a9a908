import { describe, expect, it } from 'vitest';
import { type NodeFacts, parseConstraint, satisfies } from '../../../../common/model/constraint.ts';

const node: NodeFacts = {
  id: 'n1',
  hostname: 'Host-A',
  role: 'worker',
  labels: { zone: 'North', Zone: 'upper', 'com.example/disk': 'ssd', empty: '' },
};

describe('placement constraints', () => {
  it('compare values without regard to case', () => {
    expect(satisfies(node, ['node.hostname==host-a'])).toBe(true);
    expect(satisfies(node, ['node.labels.zone==NORTH'])).toBe(true);
    expect(satisfies(node, ['node.labels.zone!=north'])).toBe(false);
  });

  it('keep label keys case-sensitive', () => {
    expect(satisfies(node, ['node.labels.Zone==upper'])).toBe(true);
    expect(satisfies(node, ['node.labels.ZONE==upper'])).toBe(false);
  });

  it('take a missing label for the empty text', () => {
    expect(satisfies(node, ['node.labels.gpu!=a100'])).toBe(true);
    expect(satisfies(node, ['node.labels.gpu==a100'])).toBe(false);
    expect(satisfies(node, ['node.labels.constructor!=x'])).toBe(true);
  });

  it('are all to be met', () => {
    expect(satisfies(node, ['node.role==worker', 'node.id!=n2'])).toBe(true);
    expect(satisfies(node, ['node.role==worker', 'node.id==n2'])).toBe(false);
    expect(satisfies(node, [])).toBe(true);
  });

  it('allow dots, slashes and spaces where they mean something', () => {
    expect(satisfies(node, [' node.labels.com.example/disk == ssd '])).toBe(true);
  });

  it.each([
    ['node.labels.zone=north', 'constraint "node.labels.zone=north" has neither == nor !='],
    ['zone', 'constraint "zone" has neither == nor !='],
    ['==north', 'constraint "==north" has no key'],
    ['node.id==', 'constraint "node.id==" has no value after =='],
    ['node.id===n1', 'constraint "node.id===n1" has no value after =='],
    ['node.zone==a', 'constraint "node.zone==a" has the unknown key "node.zone"'],
    ['Node.id==a', 'constraint "Node.id==a" has the unknown key "Node.id"'],
    ['node.labels.==a', 'constraint "node.labels.==a" has no proper label key'],
    ['node.labels.a b==a', 'constraint "node.labels.a b==a" has no proper label key'],
  ])('refuse %s with words', (text, message) => {
    expect(parseConstraint(text)).toMatchObject({ kind: 'bad', message });
    expect(satisfies(node, [text])).toBe(false);
  });

  it('name the known keys when they refuse an unknown one', () => {
    expect(parseConstraint('engine.labels.a==b')).toMatchObject({
      hint: 'known keys are node.id, node.hostname, node.role and node.labels.KEY',
    });
  });
});
