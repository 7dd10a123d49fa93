"""The paper's Table 1: its rows, the experiments behind them, their statistics, and the table in four formats."""
