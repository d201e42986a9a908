import { expect, it } from 'vitest';
import { sinceMs } from '../../../cli/commands/service-logs.ts';
import { refusalOf } from '../../../cli/flags/refused.ts';
import { render } from '../../../cli/format/table.ts';

const columns = [
  { key: 'ID', title: 'ID' },
  { key: 'Name', title: 'NAME' },
];
const rows = [
  { ID: 'abc', Name: 'web' },
  { ID: 'd', Name: 'api' },
];

it('draws a table as wide as its widest cells', () => {
  expect(render(columns, rows, undefined)).toBe('ID    NAME\nabc   web\nd     api\n');
});

it('prints one JSON object a line', () => {
  expect(render(columns, rows, 'json')).toBe('{"ID":"abc","Name":"web"}\n{"ID":"d","Name":"api"}\n');
});

it('fills templates and refuses what they cannot name', () => {
  expect(render(columns, rows, '{{.ID}}\\t{{ .Name }}')).toBe('abc\tweb\nd\tapi\n');
  expect(() => render(columns, rows, '{{.Color}}')).toThrow(/Color/);
});

it('refuses a Docker flag by name and leaves typing errors to the parser', () => {
  expect(refusalOf("error: unknown option '--secret'")).toMatch(/--secret is Docker's/);
  expect(refusalOf("error: unknown option '--replcas'")).toBeUndefined();
});

it('reads a point in time as RFC 3339, as seconds, and as an age', () => {
  expect(sinceMs('2026-01-01T00:00:00Z', 0)).toBe(Date.parse('2026-01-01T00:00:00Z'));
  expect(sinceMs('10', 0)).toBe(10_000);
  expect(sinceMs('10m', 1_000_000)).toBe(400_000);
  expect(() => sinceMs('yesterday', 0)).toThrow(/--since|no time/);
});
