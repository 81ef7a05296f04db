/** An amount in cents. */
export interface Money {
  readonly cents: number;
}

export function money(cents: number): Money {
  return { cents };
}

export function sum(amounts: Money[]): Money {
  return money(amounts.reduce((total, { cents }) => total + cents, 0));
}

export function format({ cents }: Money): string {
  return (cents / 100).toFixed(2);
}
