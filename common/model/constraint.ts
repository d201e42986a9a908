/**
 * Placement constraints: `key==value` or `key!=value`, ANDed.
 * Parsed here for the door (which refuses bad text) and for everyone who asks whether a node satisfies them.
 */
import type { Node, NodeStatus } from './node.ts';
import type { Labels } from './service.ts';

/** What constraints may look at. */
export interface NodeFacts {
  readonly id: string;
  /** As the agent reported it; empty until it has. */
  readonly hostname: string;
  readonly role: string;
  readonly labels: Labels;
}

export interface Constraint {
  readonly kind: 'constraint';
  /** `node.id`, `node.hostname`, `node.role` or `node.labels.KEY`. */
  readonly key: string;
  readonly equal: boolean;
  readonly value: string;
}

/** Why a text is no constraint; both parts are ready for a user. */
export interface BadConstraint {
  readonly kind: 'bad';
  readonly message: string;
  readonly hint: string;
}

const LABEL_PREFIX = 'node.labels.';
const PLAIN_KEYS: readonly string[] = ['node.id', 'node.hostname', 'node.role'];
const KNOWN_KEYS = 'known keys are node.id, node.hostname, node.role and node.labels.KEY';
const SYNTAX = 'write KEY==VALUE or KEY!=VALUE, as in node.labels.zone==north';
const LABEL_KEY = /^[A-Za-z0-9_][A-Za-z0-9_.\-/]*$/;

/** Reads one constraint; spaces around key and value do not count. Source: Docker `service create --constraint`. */
export function parseConstraint(text: string): Constraint | BadConstraint {
  const found = /^([^=!]*)(==|!=)(.*)$/s.exec(text);
  if (found === null) return bad(`constraint "${text}" has neither == nor !=`, SYNTAX);
  const [, rawKey = '', operator, rawValue = ''] = found;
  const key = rawKey.trim();
  const value = rawValue.trim();
  if (key === '') return bad(`constraint "${text}" has no key`, SYNTAX);
  if (value === '' || value.startsWith('=')) return bad(`constraint "${text}" has no value after ${operator}`, SYNTAX);
  if (/\p{Cc}/u.test(value)) return bad(`constraint on "${key}" has a control character in its value`, SYNTAX);
  if (key.startsWith(LABEL_PREFIX)) {
    const label = key.slice(LABEL_PREFIX.length);
    if (!LABEL_KEY.test(label)) return bad(`constraint "${text}" has no proper label key`, KNOWN_KEYS);
  } else if (!PLAIN_KEYS.includes(key)) {
    return bad(`constraint "${text}" has the unknown key "${key}"`, KNOWN_KEYS);
  }
  return { kind: 'constraint', key, equal: operator === '==', value };
}

/** True when the node meets this one. Values compare without case, label keys with it; a missing label is empty. */
export function holds(constraint: Constraint, facts: NodeFacts): boolean {
  return (factOf(constraint.key, facts).toLowerCase() === constraint.value.toLowerCase()) === constraint.equal;
}

/** True when the node meets all of them. A text that is no constraint, which the door never lets in, is met by no node. */
export function satisfies(facts: NodeFacts, constraints: readonly string[]): boolean {
  return constraints.every((text) => {
    const constraint = parseConstraint(text);
    return constraint.kind === 'constraint' && holds(constraint, facts);
  });
}

/** The facts of a node as the store has them. */
export function factsOf(node: Node, status: NodeStatus | undefined): NodeFacts {
  return { id: node.id, hostname: status?.description.hostname ?? '', role: node.role, labels: node.labels };
}

function factOf(key: string, facts: NodeFacts): string {
  if (key === 'node.id') return facts.id;
  if (key === 'node.hostname') return facts.hostname;
  if (key === 'node.role') return facts.role;
  const label = key.slice(LABEL_PREFIX.length);
  return Object.hasOwn(facts.labels, label) ? (facts.labels[label] ?? '') : '';
}

function bad(message: string, hint: string): BadConstraint {
  return { kind: 'bad', message, hint };
}
