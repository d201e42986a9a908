/** Steps as they stand in the file: their form is proved, their variables are still there. expand.ts makes them ready. */
import type { BuildHealth, Command, Heredoc, Network, Pair, Span } from './steps.ts';

interface WrittenRun {
  readonly kind: 'run';
  readonly command: Command;
  readonly script?: { readonly name: string; readonly content: string };
  /** Values of `--mount`. */
  readonly mounts: readonly string[];
  readonly network: Network;
}

export interface WrittenTransfer {
  readonly kind: 'copy' | 'add';
  readonly sources: readonly string[];
  readonly documents: readonly Heredoc[];
  readonly dest: string;
  readonly from?: string;
  readonly chown?: string;
  readonly chmod?: string;
  readonly checksum?: string;
  readonly unpack?: boolean;
  readonly link: boolean;
  readonly parents: boolean;
  readonly exclude: readonly string[];
}

export interface WrittenArg {
  readonly kind: 'arg';
  readonly args: readonly { readonly name: string; readonly value?: string }[];
}

type Content =
  | WrittenRun
  | WrittenTransfer
  | WrittenArg
  | { readonly kind: 'env' | 'label'; readonly pairs: readonly Pair[] }
  | { readonly kind: 'workdir' | 'user' | 'stopsignal'; readonly word: string }
  | { readonly kind: 'expose' | 'volume'; readonly words: readonly string[] }
  | { readonly kind: 'cmd' | 'entrypoint'; readonly command: Command }
  | { readonly kind: 'healthcheck'; readonly check: BuildHealth }
  | { readonly kind: 'shell'; readonly argv: readonly string[] }
  | { readonly kind: 'onbuild'; readonly trigger: string }
  | { readonly kind: 'maintainer'; readonly name: string };

export type Step = Content & {
  readonly span: Span;
  /** The instruction on one line, as it is written. */
  readonly text: string;
};

export interface Stage {
  /** From 0, in the file's order. */
  readonly index: number;
  /** In lower case; absent = only its index. */
  readonly name?: string;
  /** Image, stage or `scratch`, with its variables. */
  readonly base: string;
  readonly platform?: string;
  readonly span: Span;
  readonly text: string;
  readonly steps: readonly Step[];
}

export interface Dockerfile {
  readonly name: string;
  readonly escape: '\\' | '`';
  /** ARGs before the first FROM. */
  readonly globals: readonly (WrittenArg & { readonly span: Span; readonly text: string })[];
  /** At least one. */
  readonly stages: readonly Stage[];
  /** For people; each names file and line. */
  readonly warnings: readonly string[];
}
