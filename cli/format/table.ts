/** Docker's tables, JSON lines and simple templates from the same rows. */
import { ClusterError } from '../../common/errors.ts';

/** A row by column key; keys are Docker's template names (`ID`, `Name`, `CurrentState`…). */
export type Row = Readonly<Record<string, string>>;

export interface Column {
  readonly key: string;
  readonly title: string;
}

/** Spaces between columns, as Docker's tabwriter puts them. */
const GAP = 3;

/** Titles and rows, each column as wide as its widest cell. */
export function renderTable(columns: readonly Column[], rows: readonly Row[]): string {
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => row[column.key] ?? '')),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const last = columns.length - 1;
  return cells
    .map((line) =>
      line
        .map((cell, i) => (i === last ? cell : cell.padEnd((widths[i] ?? 0) + GAP)))
        .join('')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** Rows in the format asked for: `table` (or none), `json` (one object a line), or a template of `{{.Key}}`s. */
export function render(columns: readonly Column[], rows: readonly Row[], format: string | undefined): string {
  if (format === undefined || format === 'table') return renderTable(columns, rows);
  if (format === 'json' || /^\{\{ *json \.? *\}\}$/.test(format))
    return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  return rows.map((row) => `${fill(format, row)}\n`).join('');
}

function fill(template: string, row: Row): string {
  return template.replaceAll('\\t', '\t').replace(/\{\{\s*(.*?)\s*\}\}/g, (_, inside: string) => {
    const value = row[inside.replace(/^\./, '')];
    if (inside.startsWith('.') && value !== undefined) return value;
    throw new ClusterError('invalid', `unknown placeholder {{${inside}}}`, {
      field: '--format',
      hint: `use json, table, or a template of ${Object.keys(row)
        .map((key) => `{{.${key}}}`)
        .join(' ')}`,
    });
  });
}
